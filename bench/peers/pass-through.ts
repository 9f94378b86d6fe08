// The floor: a Worker that hands every request to the origin and does nothing else.
interface Env {
  readonly ORIGIN: string;
}

// biome-ignore lint/style/noDefaultExport: a Worker's entry
export default {
  fetch(request: Request, env: Env): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    return fetch(env.ORIGIN + pathname + search, request);
  },
};
