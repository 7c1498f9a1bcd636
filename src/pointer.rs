//! Where in a decoded session a value stands: a JSON Pointer (RFC 6901) in which `*` is each element.

#![forbid(unsafe_code)]

use serde_json::Value;

use crate::config::ConfigError;

/// A JSON Pointer, parsed once when the configuration is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pointer {
    text: String,
    tokens: Vec<Token>,
}

/// One reference token of a [`Pointer`] (RFC 6901, section 3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Token {
    /// `*`: each element of an array, each member of an object.
    Each,
    /// A member's name or, where the value is an array, an index.
    Name(String),
}

/// What a [`Pointer`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Selected<'v> {
    /// Nothing stands there.
    None,
    /// The value the pointer names.
    One(&'v Value),
    /// The values a pointer with `*` names, in their order; empty where the array is.
    Many(Vec<&'v Value>),
}

impl Pointer {
    /// Reads `/a/b`; the empty text is the whole session. `~0` is `~`, `~1` is `/` (RFC 6901, section 4).
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let tokens = match text.strip_prefix('/') {
            Some(rest) => rest.split('/').map(Token::parse).collect::<Result<_, _>>()?,
            None if text.is_empty() => Vec::new(),
            None => {
                let error = ConfigError::new(format!("\"{text}\" is not a pointer into a session"));
                return Err(error.hint(format!("did you mean \"/{text}\"?")));
            }
        };
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// The pointer as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `pointer` read from where `self` points: `/think` joined with `/uid` is `/think/uid`.
    #[must_use]
    pub fn join(&self, pointer: &Pointer) -> Self {
        Self {
            text: format!("{}{}", self.text, pointer.text),
            tokens: self.tokens.iter().chain(&pointer.tokens).cloned().collect(),
        }
    }

    /// What stands there in `value`.
    pub fn select<'v>(&self, value: &'v Value) -> Selected<'v> {
        let plain = self.tokens.iter().take_while(|token| **token != Token::Each).count();
        let (names, pattern) = self.tokens.split_at(plain);
        let Some(base) = names.iter().try_fold(value, member) else { return Selected::None };
        if pattern.is_empty() {
            return Selected::One(base);
        }
        if !base.is_array() && !base.is_object() {
            return Selected::None;
        }
        let mut found = Vec::new();
        collect(base, pattern, &mut found);
        Selected::Many(found)
    }

    /// The reference tokens, outermost first.
    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }
}

impl Token {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        if text == "*" {
            return Ok(Self::Each);
        }
        let mut name = String::with_capacity(text.len());
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            name.push(match c {
                '~' => match rest.next() {
                    Some('0') => '~',
                    Some('1') => '/',
                    _ => {
                        let error = ConfigError::new(format!("\"~\" in \"{text}\" stands alone"));
                        return Err(
                            error.hint("in a pointer \"~\" is written \"~0\" and \"/\" \"~1\"")
                        );
                    }
                },
                c => c,
            });
        }
        Ok(Self::Name(name))
    }
}

/// The index of an array's element, if `name` is one: no sign, no leading zero (RFC 6901, section 4).
pub(crate) fn index(name: &str) -> Option<usize> {
    let canonical = name == "0" || !name.starts_with('0');
    let digits = name.bytes().all(|b| b.is_ascii_digit());
    if canonical && digits {
        name.parse().ok()
    } else {
        None
    }
}

fn member<'v>(value: &'v Value, token: &Token) -> Option<&'v Value> {
    match (value, token) {
        (Value::Object(members), Token::Name(name)) => members.get(name),
        (Value::Array(elements), Token::Name(name)) => elements.get(index(name)?),
        _ => None,
    }
}

/// Adds to `found` what `pattern` names below `value`; as deep as the pointer is long.
fn collect<'v>(value: &'v Value, pattern: &[Token], found: &mut Vec<&'v Value>) {
    let Some((token, rest)) = pattern.split_first() else {
        found.push(value);
        return;
    };
    match (token, value) {
        (Token::Each, Value::Array(elements)) => {
            elements.iter().for_each(|element| collect(element, rest, found));
        }
        (Token::Each, Value::Object(members)) => {
            members.values().for_each(|member| collect(member, rest, found));
        }
        _ => {
            if let Some(value) = member(value, token) {
                collect(value, rest, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pick(pointer: &str, value: &Value) -> Option<Value> {
        match Pointer::parse(pointer).unwrap().select(value) {
            Selected::None => None,
            Selected::One(found) => Some(found.clone()),
            Selected::Many(found) => Some(found.into_iter().cloned().collect()),
        }
    }

    #[test]
    fn the_examples_of_rfc_6901() {
        let document = json!({"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4,
            "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8});
        assert_eq!(pick("", &document), Some(document.clone()));
        assert_eq!(pick("/foo", &document), Some(json!(["bar", "baz"])));
        assert_eq!(pick("/foo/0", &document), Some(json!("bar")));
        let names = ["/", "/a~1b", "/c%d", "/e^f", "/g|h", "/i\\j", "/k\"l", "/ ", "/m~0n"];
        for (number, pointer) in names.iter().enumerate() {
            assert_eq!(pick(pointer, &document), Some(json!(number)), "{pointer}");
        }
    }

    #[test]
    fn an_index_has_one_spelling() {
        let document = json!({"list": [1, 2], "map": {"01": 3}});
        for nowhere in [
            "/list/2",
            "/list/-",
            "/list/01",
            "/list/+1",
            "/list/",
            "/list/0/0",
            "/list/99999999999999999999",
        ] {
            assert_eq!(pick(nowhere, &document), None, "{nowhere}");
        }
        assert_eq!(pick("/map/01", &document), Some(json!(3)));
    }

    #[test]
    fn a_star_is_each_element() {
        let document = json!({"users": [{"id": 1, "r": ["a"]}, {"id": 2, "r": ["b", "c"]}, {}], "map": {"x": 7, "y": 8},
            "none": [], "word": "abc"});
        assert_eq!(pick("/users/*/id", &document), Some(json!([1, 2])));
        assert_eq!(pick("/users/*/r/*", &document), Some(json!(["a", "b", "c"])));
        assert_eq!(pick("/map/*", &document), Some(json!([7, 8])));
        assert_eq!(pick("/none/*", &document), Some(json!([])));
        assert_eq!(pick("/word/*", &document), None);
        assert_eq!(pick("/gone/*", &document), None);
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        let error = Pointer::parse("user_id").unwrap_err().to_string();
        assert_eq!(
            error,
            "\"user_id\" is not a pointer into a session; did you mean \"/user_id\"?"
        );
        assert!(Pointer::parse("/a~2").is_err());
        assert!(Pointer::parse("/a~").is_err());
    }

    #[test]
    fn joined_pointers_read_on() {
        let root = Pointer::parse("/think").unwrap();
        let joined = root.join(&Pointer::parse("/user/*").unwrap());
        assert_eq!(joined, Pointer::parse("/think/user/*").unwrap());
        assert_eq!(Pointer::parse("").unwrap().join(&root), root);
    }

    proptest! {
        #[test]
        fn without_a_star_it_is_what_serde_json_says(
            tokens in proptest::collection::vec("[ab01~/]{0,2}", 0..4),
        ) {
            let document = json!({"a": {"b": [1, {"a": 2}], "": {"0": 3}}, "0": [[4]], "~": {"/": 5}, "b/": 6});
            let text: String =
                tokens.iter().map(|t| format!("/{}", t.replace('~', "~0").replace('/', "~1"))).collect();
            prop_assert_eq!(pick(&text, &document), document.pointer(&text).cloned());
        }
    }
}
