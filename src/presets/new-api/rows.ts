// Who may go where in both generations of New API. Paths are told apart as gin does; what has no row is the pages of the
// system, open to all.
import type { Level } from "../preset.ts";

/** Levels that say the same in both. */
export const SHARED_LEVELS: Readonly<Record<string, Level>> = {
  open: { auth: "none" },
  relay: { accept: ["api_key"] },
  ask: { accept: ["api_key"], takesExpiredKeys: true },
  unknown: { auth: "none", isUnknown: true },
};

/** Asks for the levels `user`, `admin`, `root` and `either` beside the shared ones. */
export const SHARED_TABLE = `
  open    : /*
  unknown : /api/* /v1/*
  open    /api: /setup /status /uptime/status /notice /user-agreement /privacy-policy /about /home_page_content /ratio_config /verification /reset_password /oauth/*
  open    /api: POST=/stripe/webhook POST=/creem/webhook POST=/waffo/webhook POST=/waffo-pancake/webhook POST=/subscription/epay/notify GET=/subscription/epay/notify GET=/subscription/epay/return POST=/subscription/epay/return
  open    /api/user: POST=/register POST=/login POST=/login/2fa POST=/passkey/login/* /reset /groups /epay/notify
  user    /api: GET=/models /token/* /subscription/* /log/self/* /data/self /data/flow/self /mj/self /task/self /verify
  user    /api/user: /self/* /models GET=/token /passkey/* /aff/* /aff_transfer POST=/topup /topup/* /pay /amount /stripe/* /creem/* /waffo/* /waffo-pancake/* /setting /2fa/* /checkin /oauth/bindings/*
  user    : POST=/pg/chat/completions
  admin   /api: /status/test /user/* /subscription/admin/* /channel/* /authz/catalog /redemption/* /log/* /data/* /group/* /prefill_group/* /mj/* /task/* /vendors/* /models/ /models/* /deployments/*
  admin   /api/user: GET=/topup POST=/topup/complete GET=/2fa/stats
  root    /api: /option/* /custom-oauth-provider/* /performance/* /ratio_sync/* /system-task/* /system-info/* DELETE=/log/ POST=/channel/:id/key
  ask     /api: /usage/token/ /log/token
  relay   /v1: /chat/* /completions /responses/* /messages/* /embeddings /images/* /audio/* /rerank /moderations /engines/* /edits /files/* /fine-tunes/* /models/* /realtime /videos/* /video/* /dashboard/billing/*
  relay   : /v1beta/* /mj/* /:mode/mj/* /suno/* /kling/v1/* /jimeng/* /dashboard/billing/*
  open    : GET=/mj/image/:id GET=/:mode/mj/image/:id
  either  : GET=/v1/videos/:task_id/content
`;
