// What holds between the answer of an origin and what is known here: both young enough when the request goes on.
import { describe, expect, it } from "vitest";
import type { Origin } from "../../../../src/config/types.ts";
import type { Runtime } from "../../../../src/context.ts";
import { learn } from "../../../../src/pipeline/verify/introspect.ts";
import type { Inquiry } from "../../../../src/presets/preset.ts";
import { createIntrospections } from "../../../../src/records/introspections.ts";
import type { Demand } from "../../../../src/records/types.ts";
import { aMatch, aRequestContext } from "./fixtures.ts";

const DEMAND: Demand = {
  lookup: { by: "none" },
  bearer: { realm: "test", userId: "7", tokenId: null, sessionId: null, issuedAtSeconds: 0 },
  freshnessSeconds: 2,
};
const USER = { id: "7", name: null, role: "user", permissions: [], attributes: {} };

/** One request; D1 takes `storeMs[i]` on its i-th look-up, the origin `originMs`. */
function aLook({
  storeMs,
  originMs = 0,
  freshnessSeconds = 2,
  origin = { kind: "url", url: new URL("https://origin.example") },
  request = new Request("https://api.example/thing"),
}: {
  readonly storeMs: readonly number[];
  readonly originMs?: number;
  readonly freshnessSeconds?: number;
  readonly origin?: Origin;
  readonly request?: Request;
}) {
  let nowMs = 5_000_000;
  let questions = 0;
  let lookups = 0;
  let sent = new Headers();
  const inquiry: Inquiry = {
    path: "/me",
    headers: { authorization: "Bearer x" },
    isByAddress: false,
    conclude: () => ({ kind: "known", user: USER }),
  };
  const deps = {
    introspections: createIntrospections({
      nowMs: () => nowMs,
      wait: async (ms) => {
        nowMs += ms;
      },
      afterForwarding: async () => {},
    }),
    records: {
      know: async () => {
        nowMs += storeMs[lookups] ?? 0;
        lookups += 1;
        return { credential: null, user: null, isRevoked: false };
      },
    },
  };
  const forwarding = {
    fetch: async (_url: unknown, init?: RequestInit) => {
      questions += 1;
      sent = new Headers(init?.headers);
      nowMs += originMs;
      return Response.json({});
    },
  };
  const context = aRequestContext({ request });
  const runtime = {
    config: { gateway: { clientAddressHeader: null, issuer: "https://auth.example" } },
    forwarding,
    signer: { sign: async () => "signed" },
  } as unknown as Runtime;
  const match = aMatch({ origin }, { freshnessSeconds });
  return {
    counts: () => ({ questions, lookups }),
    sent: () => sent,
    run: () => learn(deps, inquiry, match, { ...context, runtime }, () => DEMAND),
  };
}

describe("learn", () => {
  it("is one question and one look-up where both are quick", async () => {
    const { run, counts } = aLook({ storeMs: [0] });
    await run();
    expect(counts()).toEqual({ questions: 1, lookups: 1 });
  });

  it("counts until just before the bound", async () => {
    const { run, counts } = aLook({ storeMs: [1_999] });
    await run();
    expect(counts().questions).toBe(1);
  });

  it("asks once more where D1 took until the bound", async () => {
    const { run, counts } = aLook({ storeMs: [2_000, 0] });
    await run();
    expect(counts()).toEqual({ questions: 2, lookups: 2 });
  });

  it("counts the origin's own time as well", async () => {
    const { run, counts } = aLook({ storeMs: [1_000, 0], originMs: 1_000 });
    await run();
    expect(counts().questions).toBe(2);
  });

  it("gives up after the second time, which is an outage", async () => {
    const { run, counts } = aLook({ storeMs: [2_000, 2_000, 0] });
    await expect(run()).rejects.toMatchObject({ code: "introspection_unavailable" });
    expect(counts()).toEqual({ questions: 2, lookups: 2 });
  });

  it("with freshness 0 what this request has asked counts, however long the rest took", async () => {
    const { run, counts } = aLook({ storeMs: [1_900], freshnessSeconds: 0 });
    await run();
    expect(counts()).toEqual({ questions: 1, lookups: 1 });
  });

  it("marks a question to `self`, and asks nothing where one has come back", async () => {
    const origin = { kind: "self" } as const;
    const { run, sent } = aLook({ storeMs: [], origin });
    await run();
    expect(sent().get("x-postern-loop")).toBe("1");
    const request = new Request("https://api.example/thing", { headers: { "x-postern-loop": "1" } });
    const again = aLook({ storeMs: [], origin, request });
    await expect(again.run()).rejects.toMatchObject({ code: "loop_detected" });
    expect(again.counts()).toEqual({ questions: 0, lookups: 0 });
  });
});
