// Cookies as both generations of New API set them.

/** In the order of Go's `http.Cookie`. */
export function strictCookie(
  name: string,
  value: string,
  { path, maxAgeSeconds }: { readonly path: string; readonly maxAgeSeconds: number },
  scheme: "http" | "https",
): string {
  const secure = scheme === "https" ? "; Secure" : "";
  return `${name}=${value}; Path=${path}; Max-Age=${maxAgeSeconds}; HttpOnly${secure}; SameSite=Strict`;
}
