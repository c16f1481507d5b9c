//! Logs: the last line that tells of trouble, without anything secret in it.

/// Longest line shown, in characters.
const LINE_CHARACTERS_MAX: usize = 300;
/// What stands for a secret.
const REDACTED: &str = "[redacted]";

/// The last line at error or warning level, in the format of this project or of klog; an error
/// outranks a later warning.
pub fn last_error(log: &str) -> Option<String> {
    let lines = || log.lines().rev().filter(|line| !line.trim().is_empty());
    let error = lines().find(|line| level(line) == Some(Level::Error));
    let line = error.or_else(|| lines().find(|line| level(line) == Some(Level::Warning)))?;
    let shown: String = line.trim().chars().take(LINE_CHARACTERS_MAX).collect();
    Some(redacted(&shown))
}

#[derive(PartialEq, Eq)]
enum Level {
    Error,
    Warning,
}

fn level(line: &str) -> Option<Level> {
    // Ours: time, level, module. A Rust panic or Go's has no level and is an error.
    match line.split_whitespace().nth(1) {
        Some("ERROR") => return Some(Level::Error),
        Some("WARN") => return Some(Level::Warning),
        _ => {}
    }
    if line.starts_with("panic:") || line.contains("panicked at") {
        return Some(Level::Error);
    }
    // klog: E1124 10:49:46.
    let digits = line
        .get(1..5)
        .is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match line.as_bytes().first().filter(|_| digits) {
        Some(b'E' | b'F') => Some(Level::Error),
        Some(b'W') => Some(Level::Warning),
        _ => None,
    }
}

/// The text without what may be a token: no log should hold one, and none shall leave through
/// here if it does.
pub fn redacted(text: &str) -> String {
    let is_delimiter = |c: char| c.is_whitespace() || "\"'`,;()[]{}<>=&".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(is_delimiter).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        out.push_str(if is_secret(word) { REDACTED } else { word });
        let mut characters = tail.chars();
        out.extend(characters.next());
        rest = characters.as_str();
    }
    out
}

/// Whether a word looks like a JWT, a bootstrap token, or part of a PEM body.
fn is_secret(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ':']);
    let base64 = |c: char| c.is_ascii_alphanumeric() || "-_+/=".contains(c);
    let parts: Vec<&str> = word.split('.').collect();
    let is_jwt = word.starts_with("ey") && parts.len() == 3;
    let is_bootstrap = match parts.as_slice() {
        [id, secret] => {
            let plain = |text: &str| {
                text.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            };
            id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)
        }
        _ => false,
    };
    // 64 characters are a line of PEM; a path of that length has slashes all over.
    let is_pem = word.len() >= 60 && !word.starts_with('/') && word.chars().all(base64);
    is_jwt || is_bootstrap || is_pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_found_in_either_format() {
        let ours = "2026-11-24T10:49:46.000000Z  INFO a: well\n2026-11-24T10:49:47.000000Z ERROR a: no door\n2026-11-24T10:49:48.000000Z  WARN a: a draught\n";
        assert_eq!(
            last_error(ours).as_deref(),
            Some("2026-11-24T10:49:47.000000Z ERROR a: no door")
        );
        let klog = "I1124 10:49:46.1 x.go:1] well\nW1124 10:49:46.2 x.go:2] a draught\n\n";
        assert_eq!(
            last_error(klog).as_deref(),
            Some("W1124 10:49:46.2 x.go:2] a draught")
        );
        assert_eq!(last_error("all is well\n"), None);
    }

    #[test]
    fn nothing_that_may_be_a_token_is_shown() {
        let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
        let text = format!("token={jwt} and 'abcdef.0123456789abcdef', see hub.example.org.");
        assert_eq!(
            redacted(&text),
            "token=[redacted] and '[redacted]', see hub.example.org."
        );
        let line = "MIIBdzCCAR2gAwIBAgIBADAKBggqhkjOPQQDAjAjMSEwHwYDVQQDDBhrM3Mtc2Vy";
        assert_eq!(redacted(line), REDACTED);
        let harmless =
            "system:open-cluster-management:cluster1:abcde at https://hub:9443/spaces/its1";
        assert_eq!(redacted(harmless), harmless);
    }
}
