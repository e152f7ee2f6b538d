//! Configurations of tests, from text.

use std::io::Write;

use super::{Config, ConfigError, Profile};

/// Loads a file with this text.
pub(super) fn load(profile: Profile, text: &str) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Config::load(profile, Some(file.path()), Default::default())
}

/// The settings that a production file with this text is refused for.
pub(super) fn faults(text: &str) -> Vec<String> {
    let error = load(Profile::Production, text).expect_err("should be refused");
    error.faults.into_iter().map(|fault| fault.setting).collect()
}
