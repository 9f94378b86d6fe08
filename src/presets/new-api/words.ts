// What New API says, in the three languages that it speaks.
import type { RequestFacts } from "../../context.ts";
import type { Problem } from "../../problem.ts";

type Texts = readonly [english: string, simplified: string, traditional: string];

const DENIED: Texts = ["Unauthorized, ", "无权进行此操作，", "無權進行此操作，"];
const denied = (...texts: Texts): Texts =>
  [DENIED[0] + texts[0], DENIED[1] + texts[1], DENIED[2] + texts[2]] as const;

export const WORDS = {
  not_logged_in: denied(
    "not logged in and no access token provided",
    "未登录且未提供 access token",
    "未登入且未提供 access token",
  ),
  token_invalid: denied("invalid access token", "access token 无效", "access token 無效"),
  user_invalid: denied("invalid user info", "用户信息无效", "使用者資訊無效"),
  user_header_missing: denied(
    "New-Api-User header not provided",
    "未提供 New-Api-User",
    "未提供 New-Api-User",
  ),
  user_header_malformed: denied(
    "New-Api-User header format error",
    "New-Api-User 格式错误",
    "New-Api-User 格式錯誤",
  ),
  user_header_mismatch: denied(
    "New-Api-User does not match logged in user",
    "New-Api-User 与登录用户不匹配",
    "New-Api-User 與登入使用者不匹配",
  ),
  banned: ["User has been banned", "用户已被封禁", "使用者已被封禁"],
  privileges: denied("insufficient privileges", "权限不足", "權限不足"),
  database: [
    "Database error, please contact the administrator",
    "数据库出错，请联系管理员",
    "資料庫出錯，請聯繫管理員",
  ],
  password: [
    "Username or password is incorrect, or user has been banned",
    "用户名或密码错误，或用户已被封禁",
    "使用者名或密碼錯誤，或使用者已被封禁",
  ],
  parameters: ["Invalid parameters", "无效的参数", "無效的參數"],
  key_missing: ["Token not provided", "未提供令牌", "未提供令牌"],
  key_invalid: ["Invalid token", "无效的令牌", "無效的令牌"],
  key_unavailable: ["This token status is unavailable", "该令牌状态不可用", "該令牌狀態不可用"],
  channel_invalid: ["Invalid channel ID", "无效的渠道 Id", "無效的管道 Id"],
} as const satisfies Record<string, Texts>;
export type Word = keyof typeof WORDS;

/** In the language that the user has chosen, where the user is known; else the first one the client names; else English. */
export function inWords(word: Word, { details }: Problem, { arrival }: RequestFacts): string {
  const chosen = details.about?.language;
  const first = arrival.request.headers.get("accept-language")?.split(/[,;]/, 1)[0];
  const tag = (typeof chosen === "string" && chosen !== "" ? chosen : (first ?? "")).trim().toLowerCase();
  if (tag.startsWith("zh-tw")) return WORDS[word][2];
  return WORDS[word][tag.startsWith("zh") ? 1 : 0];
}
