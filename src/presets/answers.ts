// The handlers of everything that is answered on a site's own paths, by name.

import type { Answers } from "./answer.ts";
import { cloudreveAnswers } from "./cloudreve/issue.ts";
import { nekohubAnswers } from "./nekohub/issue.ts";
import { newApiAnswers } from "./new-api/issue.ts";
import { newApiCurrentAnswers } from "./new-api-current/issue.ts";

export const ANSWERS: Answers = {
  ...cloudreveAnswers,
  ...nekohubAnswers,
  ...newApiAnswers,
  ...newApiCurrentAnswers,
};
