// Stub
import type { Answer } from "../answer.ts";

export const newApiAnswers: Readonly<Record<string, Answer>> = {};
