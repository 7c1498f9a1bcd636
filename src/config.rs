//! A mistake in the configuration, as `nginx -t` reports it: a reason, and a hint where one helps.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
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
    names.sort_by_key(|name| (distance(given, name), Reverse(common_prefix(given, name))));
    let near = names.first().filter(|name| distance(given, name) <= ((given.len() + 1) / 3).max(1));
    let hint = match near {
        Some(near) => format!("did you mean \"{near}\"? known: {}", names.join(", ")),
        None => format!("known: {}", names.join(", ")),
    };
    ConfigError::new(format!("unknown {kind} \"{given}\"")).hint(hint)
}

/// `name=` of an argument `name=value`, the whole of one without `=`: by what it is recognised.
pub fn option_name(argument: &str) -> &str {
    argument.find('=').and_then(|at| argument.get(..=at)).unwrap_or(argument)
}

/// The arguments `name=value`, cut in two behind the `=`. Each name must be `known`, and stand once unless it
/// is one of `repeated`.
pub fn options<'a>(
    arguments: &[&'a str],
    known: &[&str],
    repeated: &[&str],
) -> Result<Vec<(&'a str, &'a str)>, ConfigError> {
    let mut options: Vec<(&str, &str)> = Vec::new();
    for argument in arguments {
        let (name, value) = argument.split_at(option_name(argument).len());
        if !known.contains(&name) {
            return Err(unknown("parameter", name, known));
        }
        if options.iter().any(|(other, _)| *other == name) && !repeated.contains(&name) {
            return Err(ConfigError::new(format!("\"{name}\" stands twice")));
        }
        options.push((name, value));
    }
    Ok(options)
}

fn common_prefix(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
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

    #[test]
    fn of_two_that_are_near_the_one_that_begins_alike_is_meant() {
        let error = unknown("condition", "hs", &["is", "has"]);
        assert_eq!(
            error.to_string(),
            "unknown condition \"hs\"; did you mean \"has\"? known: has, is"
        );
    }

    #[test]
    fn half_another_word_is_not_near() {
        let error = unknown("framework", "wordpress", &["php", "express"]);
        assert!(!error.to_string().contains("did you mean"), "{error}");
    }

    #[test]
    fn options_are_known_and_stand_once() {
        let known = ["join=", "encode="];
        assert_eq!(options(&["join=a=b"], &known, &[]), Ok(vec![("join=", "a=b")]));
        assert_eq!(options(&["join=a", "join=b"], &known, &["join="]).map(|all| all.len()), Ok(2));
        for (arguments, message) in [
            (["join=a", "join=b"], "\"join=\" stands twice"),
            (
                ["join=a", "encoding=a-long-value"],
                "unknown parameter \"encoding=\"; did you mean \"encode=\"? known: encode=, join=",
            ),
            (["join=a", ","], "unknown parameter \",\"; known: join=, encode="),
        ] {
            assert_eq!(options(&arguments, &known, &[]).unwrap_err().to_string(), message);
        }
    }
}
