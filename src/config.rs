//! A mistake in the configuration, as `nginx -t` reports it: a reason, and a hint where one helps.

#![forbid(unsafe_code)]

use std::fmt;

/// Why a directive's argument was refused. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    reason: String,
    hint: Option<String>,
}

impl ConfigError {
    /// A refusal; `reason` reads on after `"directive" directive: `.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: None }
    }

    /// The same refusal with what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The refusal of an unknown name: the nearest known name first, then all of them.
pub fn unknown(kind: &str, given: &str, known: &[&str]) -> ConfigError {
    let mut names = known.to_vec();
    names.sort_by_key(|name| distance(given, name));
    let near = names.first().filter(|name| distance(given, name) <= given.len().max(3) / 3 + 1);
    let hint = match near {
        Some(near) => format!("did you mean \"{near}\"? known: {}", names.join(", ")),
        None => format!("known: {}", names.join(", ")),
    };
    ConfigError::new(format!("unknown {kind} \"{given}\"")).hint(hint)
}

/// Levenshtein's distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(!x.eq_ignore_ascii_case(&y));
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_comes_first() {
        let error = unknown("framework", "expres", &["php", "express"]);
        assert_eq!(
            error.to_string(),
            "unknown framework \"expres\"; did you mean \"express\"? known: express, php"
        );
    }

    #[test]
    fn a_name_like_no_other_gets_the_list_only() {
        let error = unknown("format", "zzzzzzzzz", &["php", "json"]);
        assert_eq!(error.to_string(), "unknown format \"zzzzzzzzz\"; known: php, json");
    }
}
