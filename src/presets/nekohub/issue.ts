// Stub
import type { Answer } from "../answer.ts";

export const nekohubAnswers: Readonly<Record<string, Answer>> = {};
