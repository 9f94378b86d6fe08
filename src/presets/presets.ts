// The presets there are, by the name a site gives.
import type { PresetName } from "../config/schema.ts";
import { cloudreve } from "./cloudreve/preset.ts";
import { nekohub } from "./nekohub/preset.ts";
import { newApi } from "./new-api/preset.ts";
import { newApiCurrent } from "./new-api-current/preset.ts";
import type { Preset } from "./preset.ts";

export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  cloudreve,
  nekohub,
  "new-api": newApi,
  "new-api-current": newApiCurrent,
};
