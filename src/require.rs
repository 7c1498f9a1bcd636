//! One condition of `session_redis_require`: what a session must hold, and the answer where it does not.

#![forbid(unsafe_code)]

use std::fmt;

use serde_json::Value;

use crate::config::{option_name, unknown, ConfigError};
use crate::pointer::Selected;
use crate::value::{elements, is_text, truthy, Expression};

/// One `session_redis_require`, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What is looked at.
    pub value: Expression,
    /// What is asked of it.
    pub test: Test,
    /// The status where it does not hold: 401, 403, 404 or 503.
    pub error: u16,
    /// Where a navigating browser is sent instead: a string with nginx variables.
    pub login: Option<String>,
    /// A request with such a cookie is let through for the application to judge, "remember me" above all.
    pub unless_cookie: Option<CookiePattern>,
    /// What becomes of a CORS preflight.
    pub preflight: Preflight,
}

/// `preflight=`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Preflight {
    /// It is judged as every request is.
    #[default]
    Judge,
    /// It passes, without a session.
    Pass,
}

/// What a condition asks of a value. Words compare as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// There, and neither null, false, 0, `""`, `"0"`, `[]` nor `{}`.
    True,
    /// Equal to the word.
    Is(String),
    /// Not there, or not equal to the word.
    IsNot(String),
    /// A list, one element of which is the word.
    Has(String),
    /// Equal to one of the words.
    In(Vec<String>),
}

/// A cookie's name, or the beginning of one: `remember_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookiePattern {
    name: String,
    open: bool,
}

/// As it is told: what is looked at and what is asked of it.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value)?;
        match &self.test {
            Test::True => Ok(()),
            Test::Is(word) => write!(f, " is {word}"),
            Test::IsNot(word) => write!(f, " isnot {word}"),
            Test::Has(word) => write!(f, " has {word}"),
            Test::In(words) => write!(f, " in {}", words.join(" ")),
        }
    }
}

impl Condition {
    /// Reads the arguments of one `session_redis_require` (all but `off`).
    pub fn parse(args: &[&str]) -> Result<Self, ConfigError> {
        let Some((value, rest)) = args.split_first() else {
            return Err(
                ConfigError::new("a value is missing").hint("such as \"/user/id\" or \"@user\"")
            );
        };
        let (test, options) = Test::parse(rest)?;
        let mut condition = Self {
            value: Expression::parse(value)?,
            test,
            error: 401,
            login: None,
            unless_cookie: None,
            preflight: Preflight::default(),
        };
        for (at, option) in options.iter().enumerate() {
            let name = option_name(option);
            if WORDS.contains(&name) && !name.ends_with('=') {
                return Err(ConfigError::new(format!("\"{name}\" stands after an option"))
                    .hint("the condition stands before the options"));
            }
            if options.iter().take(at).any(|other| option_name(other) == name) {
                return Err(ConfigError::new(format!("\"{name}\" stands twice")));
            }
            condition.set(option)?;
        }
        Ok(condition)
    }

    fn set(&mut self, option: &str) -> Result<(), ConfigError> {
        if let Some(status) = option.strip_prefix("error=") {
            self.error = match status {
                "401" => 401,
                "403" => 403,
                "404" => 404,
                "503" => 503,
                _ => return Err(unknown("status", status, &["401", "403", "404", "503"])),
            };
        } else if let Some(uri) = option.strip_prefix("login=") {
            self.login = Some(login(uri)?);
        } else if let Some(pattern) = option.strip_prefix("unless_cookie=") {
            self.unless_cookie = Some(CookiePattern::parse(pattern)?);
        } else if let Some(word) = option.strip_prefix("preflight=") {
            self.preflight = match word {
                "pass" => Preflight::Pass,
                _ => return Err(unknown("way of a preflight", word, &["pass"])),
            };
        } else {
            return Err(unknown("condition", option_name(option), &WORDS));
        }
        Ok(())
    }

    /// Whether it holds for what its value turned out to be. Of several values (`*`) one is enough, but
    /// for `isnot`, where all must differ.
    pub fn holds(&self, selected: &Selected<'_>) -> bool {
        match &self.test {
            Test::True => any(selected, truthy),
            Test::Is(word) => any(selected, |value| is_text(value, word)),
            Test::IsNot(word) => !any(selected, |value| is_text(value, word)),
            Test::In(words) => any(selected, |value| words.iter().any(|word| is_text(value, word))),
            Test::Has(word) => match selected {
                Selected::Many(values) => {
                    values.iter().any(|value| is_text(value, word) || has(value, word))
                }
                other => any(other, |value| has(value, word)),
            },
        }
    }
}

/// What may stand after the value.
const WORDS: [&str; 8] =
    ["is", "isnot", "has", "in", "error=", "login=", "unless_cookie=", "preflight="];

impl Test {
    /// The test, and the arguments after it.
    fn parse<'a, 'b>(args: &'b [&'a str]) -> Result<(Self, &'b [&'a str]), ConfigError> {
        let Some((&word, rest)) = args.split_first() else { return Ok((Self::True, args)) };
        let make: fn(String) -> Self = match word {
            "is" => Self::Is,
            "isnot" => Self::IsNot,
            "has" => Self::Has,
            "in" => {
                let options = rest.iter().position(|arg| WORDS.contains(&option_name(arg)));
                let (words, options) = rest.split_at(options.unwrap_or(rest.len()));
                if words.is_empty() {
                    return Err(ConfigError::new("\"in\" needs words to compare with"));
                }
                let words = words.iter().map(|word| literal(word)).collect::<Result<_, _>>()?;
                return Ok((Self::In(words), options));
            }
            _ => return Ok((Self::True, args)),
        };
        match rest.split_first() {
            Some((found, options)) => Ok((make(literal(found)?), options)),
            None => Err(ConfigError::new(format!("\"{word}\" needs a word to compare with"))),
        }
    }
}

impl CookiePattern {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        let (name, open) = match text.strip_suffix('*') {
            Some(name) => (name, true),
            None => (text, false),
        };
        if name.is_empty() || name.contains('*') {
            let error = ConfigError::new(format!("\"{text}\" is not a cookie's name"));
            return Err(error.hint("a \"*\" at its end stands for the rest"));
        }
        Ok(Self { name: name.to_owned(), open })
    }

    /// Whether a cookie of this name is meant. Cookie names differ by case (RFC 6265, section 4.1.1).
    pub fn matches(&self, cookie: &[u8]) -> bool {
        let name = self.name.as_bytes();
        if self.open {
            cookie.starts_with(name)
        } else {
            cookie == name
        }
    }
}

/// A word to compare with, which is never expanded: one that looks like a variable is a mistake.
fn literal(word: &str) -> Result<String, ConfigError> {
    let variable = word
        .split('$')
        .skip(1)
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '{'));
    if variable {
        let error = ConfigError::new(format!("\"{word}\" would be compared as it stands"));
        return Err(error.hint("a condition's words hold no variables"));
    }
    Ok(word.to_owned())
}

/// The address of a login page, which must not lose or admit what `$request_uri` does.
fn login(uri: &str) -> Result<String, ConfigError> {
    let name = "request_uri";
    let uses = uri.split('$').skip(1).any(|rest| match rest.strip_prefix('{') {
        Some(rest) => rest.strip_prefix(name).is_some_and(|after| after.starts_with('}')),
        None => rest.strip_prefix(name).is_some_and(|after| {
            !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        }),
    });
    if uses {
        return Err(ConfigError::new(
            "login= uses $request_uri, which loses \"&…\" and admits \"//evil\"; use $session_redis_return_to",
        ));
    }
    if uri.is_empty() {
        return Err(ConfigError::new("login= is empty"));
    }
    Ok(uri.to_owned())
}

fn any(selected: &Selected<'_>, test: impl Fn(&Value) -> bool) -> bool {
    match selected {
        Selected::None => false,
        Selected::One(value) => test(value),
        Selected::Many(values) => values.iter().any(|value| test(value)),
    }
}

fn has(value: &Value, word: &str) -> bool {
    elements(value)
        .is_some_and(|elements| elements.into_iter().any(|element| is_text(element, word)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(line: &str) -> Result<Condition, ConfigError> {
        Condition::parse(&line.split(' ').collect::<Vec<_>>())
    }

    /// Whether the condition `line` on `/v` holds in `session`.
    fn holds(line: &str, session: &Value) -> bool {
        let condition = condition(line).unwrap();
        let Expression::Pointer(pointer) = &condition.value else {
            panic!("{line}: not a pointer")
        };
        condition.holds(&pointer.select(session))
    }

    #[test]
    fn a_condition_stands_before_the_options() {
        for (line, word) in [("/u error=403 is admin", "is"), ("/u login=/l in a b", "in")] {
            let error = condition(line).unwrap_err().to_string();
            let expected = format!(
                "\"{word}\" stands after an option; the condition stands before the options"
            );
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn all_parts_of_a_line() {
        let login = "/login?next=$session_redis_return_to";
        let line = format!("@user in a error=b c error=403 login={login} unless_cookie=remember_*");
        let error = condition(&line).unwrap_err().to_string();
        assert!(error.starts_with("unknown status \"b\""), "{error}");

        let line = format!("@user in a b login={login} error=403 unless_cookie=remember_*");
        let parsed = condition(&line).unwrap();
        assert_eq!(parsed.value, Expression::User);
        assert_eq!(parsed.test, Test::In(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!((parsed.error, parsed.login.as_deref()), (403, Some(login)));
        let pattern = parsed.unless_cookie.unwrap();
        assert!(pattern.matches(b"remember_web_1") && pattern.matches(b"remember_"));
        assert!(!pattern.matches(b"remember") && !pattern.matches(b"Remember_web"));
        assert_eq!(parsed.preflight, Preflight::Judge);
        assert_eq!(condition("/v preflight=pass").unwrap().preflight, Preflight::Pass);
    }

    #[test]
    fn a_word_may_look_like_an_option() {
        assert_eq!(condition("/v is error=403").unwrap().test, Test::Is("error=403".to_owned()));
        assert_eq!(condition("/v is is").unwrap().test, Test::Is("is".to_owned()));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, message) in [
            ("user", "\"user\" is a constant string"),
            ("/v equals x", "unknown condition \"equals\""),
            ("/v errors=403", "unknown condition \"errors=\"; did you mean \"error=\"?"),
            ("/v is", "\"is\" needs a word"),
            ("/v in error=403", "\"in\" needs words"),
            ("/v is $arg_x", "\"$arg_x\" would be compared as it stands"),
            ("/v is a b", "unknown condition \"b\""),
            ("/v error=500", "unknown status \"500\""),
            ("/v error=403 error=404", "\"error=\" stands twice"),
            ("/v login=", "login= is empty"),
            ("/v preflight=on", "unknown way of a preflight \"on\""),
            ("/v unless_cookie=*", "\"*\" is not a cookie's name"),
            (
                "/v login=/login?next=$request_uri",
                "login= uses $request_uri, which loses \"&…\" and admits \"//evil\"; use $session_redis_return_to",
            ),
            ("/v login=/login?next=${request_uri}x", "login= uses $request_uri"),
        ] {
            let error = condition(line).unwrap_err().to_string();
            assert!(error.starts_with(message), "{line}: {error}");
        }
        assert!(condition("/v login=/login?n=$request_uri_ok").is_ok());
        assert!(condition("/v is US$").is_ok());
        assert!(Condition::parse(&[]).is_err());
    }

    #[test]
    fn words_compare_as_text() {
        assert!(holds("/v is 1", &json!({"v": 1})));
        assert!(holds("/v is 1", &json!({"v": "1"})));
        assert!(holds("/v is true", &json!({"v": true})));
        assert!(!holds("/v is 1", &json!({"v": 1.0})));
        assert!(!holds("/v is null", &json!({"v": null})));
        assert!(!holds("/v is Admin", &json!({"v": "admin"})));
        assert!(holds("/v in a b", &json!({"v": "b"})));
        assert!(!holds("/v in a b", &json!({"v": ["b"]})));
    }

    #[test]
    fn isnot_holds_for_what_is_not_there() {
        assert!(holds("/v isnot banned", &json!({})));
        assert!(holds("/v isnot banned", &json!({"v": null})));
        assert!(!holds("/v isnot banned", &json!({"v": "banned"})));
        assert!(!holds("/v/* isnot banned", &json!({"v": ["ok", "banned"]})));
    }

    #[test]
    fn has_looks_in_lists_only() {
        assert!(holds("/v has admin", &json!({"v": ["editor", "admin"]})));
        assert!(holds("/v has 7", &json!({"v": [7]})));
        assert!(holds("/v has admin", &json!({"v": {"1": "editor", "3": "admin"}})));
        assert!(!holds("/v has admin", &json!({"v": {"name": "admin"}})));
        assert!(!holds("/v has admin", &json!({"v": "admin"})));
        assert!(!holds("/v has admin", &json!({})));
        assert!(holds("/v/*/r has b", &json!({"v": [{"r": ["a"]}, {"r": ["b"]}]})));
        assert!(holds("/v/* has b", &json!({"v": ["a", "b"]})));
    }

    #[test]
    fn without_a_word_the_value_must_be_true() {
        assert!(holds("/v", &json!({"v": 1001})));
        assert!(!holds("/v", &json!({"v": "0"})));
        assert!(!holds("/v", &json!({})));
        assert!(!holds("/v/*/admin", &json!({"v": [{"admin": false}, {"admin": 0}]})));
        assert!(holds("/v/*/admin", &json!({"v": [{"admin": false}, {"admin": true}]})));
    }
}
