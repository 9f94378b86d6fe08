// What `npm start` and the CLI leave and find on this machine: changed files, and where a gateway listens.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { listeningAt, noteListening } from "../../cli/listening.ts";
import { contentsOf, whenChanged } from "../../cli/watch-files.ts";

const scratch = mkdtempSync(join(tmpdir(), "postern-watch-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe("a change of a file", () => {
  const file = join(scratch, "a.toml");
  const next = async (act: () => void) => {
    const changed = whenChanged([file], await contentsOf([file]), 20);
    act();
    return changed;
  };
  const replace = (text: string) => {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  };

  it("is seen however it is made: written in place, replaced, removed, made again", async () => {
    writeFileSync(file, "1");
    expect(await next(() => writeFileSync(file, "2"))).toEqual(["2"]);
    expect(await next(() => replace("3"))).toEqual(["3"]);
    expect(await next(() => writeFileSync(file, "4"))).toEqual(["4"]);
    expect(await next(() => rmSync(file))).toEqual([null]);
    expect(await next(() => writeFileSync(file, "5"))).toEqual(["5"]);
  });

  it("is none where the file is written anew with what it held", async () => {
    const changed = next(() => replace("5"));
    const before = await Promise.race([changed, new Promise((resolve) => setTimeout(resolve, 200, "none"))]);
    expect(before).toBe("none");
    replace("6");
    expect(await changed).toEqual(["6"]);
  });

  it("of one file is told with what the others hold", async () => {
    const other = join(scratch, "b.toml");
    const changed = whenChanged([file, other], await contentsOf([file, other]), 20);
    writeFileSync(other, "new");
    expect(await changed).toEqual(["6", "new"]);
  });
});

describe("where a gateway listens", () => {
  const NOTE = join(scratch, "listening.json");

  it("is known while the process that said so lives", () => {
    expect(listeningAt(scratch)).toBeNull();
    noteListening(scratch, "http://127.0.0.1:4711");
    expect(listeningAt(scratch)).toBe("http://127.0.0.1:4711");
    const { pid } = spawnSync(process.execPath, ["-e", ""]); // gone by now
    writeFileSync(NOTE, JSON.stringify({ url: "http://127.0.0.1:4711", pid }));
    expect(listeningAt(scratch)).toBeNull();
  });

  it.each(["", "{", "null", '{"url":"x","pid":1}', '{"url":"http://127.0.0.1:1","pid":-1}', '{"pid":1}'])(
    "is not read out of %s",
    (text) => {
      writeFileSync(NOTE, text);
      expect(listeningAt(scratch)).toBeNull();
    },
  );

  it("is forgotten when the process ends", () => {
    const script = `import { noteListening } from ${JSON.stringify(join(import.meta.dirname, "../../cli/listening.ts"))};
      noteListening(${JSON.stringify(scratch)}, "http://127.0.0.1:4711");`;
    rmSync(NOTE, { force: true });
    expect(spawnSync(process.execPath, ["--input-type=module", "-e", script]).status).toBe(0);
    expect(existsSync(NOTE)).toBe(false);
  });
});
