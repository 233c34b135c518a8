// Text inside XML and HTML.

/**
 * `text` as content or as a quoted attribute. Characters that XML 1.0 cannot hold in any form become U+FFFD, so that
 * whatever a device said makes no document invalid.
 */
export function escapeMarkup(text: string): string {
  return text
    .replace(FORBIDDEN, "\ufffd")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

/** What is not a `Char` of XML 1.0 §2.2: control characters, lone surrogates, U+FFFE and U+FFFF. */
const FORBIDDEN: RegExp = /[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu;
