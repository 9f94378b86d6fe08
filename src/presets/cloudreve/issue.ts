// Stub
import type { Answer } from "../answer.ts";

export const cloudreveAnswers: Readonly<Record<string, Answer>> = {};
