//! How many processes an agent is, and where they run.

/// How many processes the agent is, and in which cluster they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Registration agent and work agent in a Deployment each, in the WEC.
    Default,
    /// Both in one process, in the WEC.
    Singleton,
    /// A Deployment each, in a hosting cluster; the WEC is reached by a kubeconfig.
    Hosted,
    /// Both in one process, in a hosting cluster.
    SingletonHosted,
}

/// No such mode.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no mode: use Default, Singleton, Hosted or SingletonHosted")]
pub struct ModeError(String);

impl Mode {
    /// Reads the mode of a Klusterlet; an empty one is the default.
    ///
    /// # Errors
    ///
    /// Modes that do not exist.
    pub fn parse(text: &str) -> Result<Self, ModeError> {
        match text {
            "" | "Default" => Ok(Self::Default),
            "Singleton" => Ok(Self::Singleton),
            "Hosted" => Ok(Self::Hosted),
            "SingletonHosted" => Ok(Self::SingletonHosted),
            other => Err(ModeError(other.to_owned())),
        }
    }

    /// As written in a Klusterlet.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "Default",
            Self::Singleton => "Singleton",
            Self::Hosted => "Hosted",
            Self::SingletonHosted => "SingletonHosted",
        }
    }

    /// Whether the agent runs outside its WEC.
    pub fn is_hosted(self) -> bool {
        matches!(self, Self::Hosted | Self::SingletonHosted)
    }

    /// Whether both agents are one process.
    pub fn is_singleton(self) -> bool {
        matches!(self, Self::Singleton | Self::SingletonHosted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_they_are_written() {
        for mode in [
            Mode::Default,
            Mode::Singleton,
            Mode::Hosted,
            Mode::SingletonHosted,
        ] {
            assert_eq!(Mode::parse(mode.as_str()), Ok(mode));
        }
        assert_eq!(Mode::parse(""), Ok(Mode::Default));
        let error = Mode::parse("Nonsense").expect_err("refused").to_string();
        assert!(error.contains("SingletonHosted"), "{error}");
    }
}
