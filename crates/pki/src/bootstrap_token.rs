//! Bootstrap tokens, `abcdef.0123456789abcdef`, as kubeadm and Kubernetes define them.

use rand::RngExt;

/// Characters of a token's public half.
const ID_CHARACTERS: usize = 6;
/// Characters of a token's secret half.
const SECRET_CHARACTERS: usize = 16;
/// The characters a token is made of.
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A bootstrap token: a public id that names its Secret, and a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    id: String,
    secret: String,
}

/// Why a text is no bootstrap token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a bootstrap token: it must match [a-z0-9]{{6}}.[a-z0-9]{{16}}")]
pub struct BootstrapTokenError;

impl std::fmt::Debug for BootstrapToken {
    /// Shows the public half only.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "BootstrapToken({}.…)", self.id)
    }
}

impl BootstrapToken {
    /// A new random token.
    pub fn generate() -> BootstrapToken {
        let mut random = rand::rng();
        let mut draw = |count: usize| -> String {
            (0..count)
                .map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]))
                .collect()
        };
        BootstrapToken {
            id: draw(ID_CHARACTERS),
            secret: draw(SECRET_CHARACTERS),
        }
    }

    /// The public half: its Secret is `kube-system/bootstrap-token-ID`, its user
    /// `system:bootstrap:ID`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret half.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether the secret half is `secret`, compared in a time that depends on lengths only.
    pub fn has_secret(&self, secret: &str) -> bool {
        let (ours, theirs) = (self.secret.as_bytes(), secret.as_bytes());
        let difference = ours.iter().zip(theirs).fold(0, |sum, (a, b)| sum | (a ^ b));
        ours.len() == theirs.len() && difference == 0
    }
}

impl std::fmt::Display for BootstrapToken {
    /// The whole token, secret included.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.id, self.secret)
    }
}

impl std::str::FromStr for BootstrapToken {
    type Err = BootstrapTokenError;

    fn from_str(text: &str) -> Result<BootstrapToken, BootstrapTokenError> {
        let valid = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|byte| ALPHABET.contains(&byte))
        };
        match text.split_once('.') {
            Some((id, secret)) if valid(id, ID_CHARACTERS) && valid(secret, SECRET_CHARACTERS) => {
                Ok(BootstrapToken {
                    id: id.to_owned(),
                    secret: secret.to_owned(),
                })
            }
            _ => Err(BootstrapTokenError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_others_are_refused() {
        let token = BootstrapToken::generate();
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        assert!(token.has_secret(token.secret()));
        assert!(!token.has_secret("0123456789abcde"));
        for text in [
            "",
            "abcdef",
            "abcdef.0123456789abcde",
            "ABCDEF.0123456789abcdef",
            "abcdef.0123456789abcdef ",
        ] {
            assert_eq!(
                text.parse::<BootstrapToken>(),
                Err(BootstrapTokenError),
                "{text:?}"
            );
        }
    }
}
