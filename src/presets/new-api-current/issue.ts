// Stub
import type { Answer } from "../answer.ts";

export const newApiCurrentAnswers: Readonly<Record<string, Answer>> = {};
