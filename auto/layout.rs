//! The layout of nginx's structures as the C compiler has it: where each field and each bit lies.
//!
//! bindgen names the structures and their fields; a file of C with nginx's own headers states where they lie, in constants
//! that are read from the object file, so that nothing is run and a cross compiler will do. Three files come of it:
//!
//! * `nginx_layout.rs` fails to compile where nginx-sys' bindings differ, and names the structure and the field;
//! * `nginx_bits.rs` holds the place of each bit field, for `src/module/bits.rs`: bindgen has put them wrongly before;
//! * `clippy.toml` refuses the accessors that bindgen makes for them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Before the numbers, and before the image of a structure: what the object file is searched for.
const LAYOUT_MARK: &str = "SessionRedis:lay";
const IMAGE_MARK: &str = "SessionRedis:b";

/// Bytes of a number in the object file.
const NUMBER: usize = 4;

/// Helpers of nginx-sys that go by bindgen's places of bits; `src/module/event.rs` has others.
const HELPERS: [&str; 4] =
    ["ngx_add_timer", "ngx_del_timer", "ngx_post_event", "ngx_delete_posted_event"];

/// A structure or union of nginx's.
struct Structure {
    /// Its name in the bindings, and in C.
    rust: String,
    c: String,
    fields: Vec<String>,
    bits: Vec<String>,
    /// It is only declared.
    is_opaque: bool,
}

/// The place of a bit field: the bytes that it touches, and the bits of the number that they are.
struct Place {
    byte: usize,
    bytes: usize,
    shift: u32,
    width: u32,
}

/// Asks the C compiler about all structures in `bindings`, and writes what it says into `out`.
pub(crate) fn write(
    bindings: &str,
    header: &Path,
    out: &Path,
    compile: impl FnOnce(&Path) -> Result<Vec<PathBuf>, cc::Error>,
) -> Result<(), Box<dyn Error>> {
    let structures = structures(bindings);
    let probe = out.join("nginx_layout.c");
    std::fs::write(&probe, source(&structures, header)?)?;
    let object = compile(&probe)?.pop().ok_or("the C compiler has written no object file")?;
    let answer = Answer::read(&std::fs::read(object)?)?;
    std::fs::write(out.join("nginx_layout.rs"), assertions(&structures, &answer)?)?;
    std::fs::write(out.join("nginx_bits.rs"), places(&structures, &answer)?)?;
    std::fs::write(out.join("clippy.toml"), refused(&structures)?)?;
    Ok(())
}

/// The structures of bindings that prettyplease has formatted. What has no name in C is left out, and what is only
/// declared.
fn structures(bindings: &str) -> Vec<Structure> {
    let mut found: BTreeMap<&str, Structure> = BTreeMap::new();
    let mut aliases: BTreeMap<&str, &str> = BTreeMap::new();
    let mut current = "";
    for line in bindings.lines() {
        let item = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub union "));
        if let Some(name) = item.or_else(|| line.strip_prefix("impl ")).map(word) {
            current = name;
            if item.is_some() {
                found.insert(name, Structure::new(name));
            }
        } else if let Some((name, of)) =
            line.strip_prefix("pub type ").and_then(|alias| alias.split_once(" = "))
        {
            aliases.entry(of.trim_end_matches(';')).or_insert(name);
        } else if let Some(structure) = found.get_mut(current) {
            structure.add(line);
        }
    }
    for structure in found.values_mut().filter(|structure| structure.c.contains(' ')) {
        if let Some(alias) = aliases.get(structure.rust.as_str()) {
            structure.c = (*alias).to_owned();
        }
    }
    let named = |structure: &Structure| {
        !structure.rust.to_ascii_lowercase().contains("__bindgen") && !structure.is_opaque
    };
    found.into_values().filter(named).collect()
}

/// The identifier that a text begins with.
fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

impl Structure {
    fn new(name: &str) -> Self {
        // A tag, where nothing better is found.
        let c = match name.rsplit_once('_') {
            Some((_, "s")) => format!("struct {name}"),
            Some((_, "u")) => format!("union {name}"),
            _ => name.to_owned(),
        };
        Self { rust: name.to_owned(), c, fields: Vec::new(), bits: Vec::new(), is_opaque: false }
    }

    /// A line of its declaration, or of the methods that bindgen makes for it.
    fn add(&mut self, line: &str) {
        self.is_opaque |= line.starts_with("    _unused: ");
        if let Some(bits) = line.strip_prefix("    pub fn set_").map(word) {
            self.bits.push(bits.to_owned());
        } else if let Some((field, _)) =
            line.strip_prefix("    pub ").and_then(|field| field.split_once(": "))
        {
            let made = ["__bindgen", "bindgen_union", "_bitfield", "_address", "_phantom"];
            if word(field) == field && !made.iter().any(|prefix| field.starts_with(prefix)) {
                self.fields.push(field.to_owned());
            }
        }
    }

    /// The module that holds the places of its bit fields.
    fn module(&self) -> &str {
        let name = self.c.rsplit(' ').next().unwrap_or_default();
        let name = name.strip_prefix("ngx_").unwrap_or(name);
        name.strip_suffix("_t").or_else(|| name.strip_suffix("_s")).unwrap_or(name)
    }
}

/// The name of a field in C: bindgen adds a line to what are words of Rust's.
fn c_field(field: &str) -> &str {
    field.strip_suffix('_').unwrap_or(field)
}

/// The file of C: an array of all sizes and offsets; and of each structure one image for each of its bit fields, in which
/// that field is all ones.
fn source(structures: &[Structure], header: &Path) -> Result<String, std::fmt::Error> {
    let mut c = format!(
        "#include \"{}\"\n#include <stddef.h>\n\
         #define N(number) (number) & 255, (number) >> 8 & 255, (number) >> 16 & 255, (number) >> 24 & 255,\n\n",
        header.display()
    );
    let total: usize = structures.iter().map(|structure| 1 + structure.fields.len()).sum();
    writeln!(c, "const struct {{ char mark[16]; unsigned char numbers[{}]; }}", total * NUMBER)?;
    writeln!(c, "session_redis_layout = {{ \"{LAYOUT_MARK}\", {{")?;
    for Structure { c: name, fields, .. } in structures {
        writeln!(c, "N(sizeof({name}))")?;
        for field in fields {
            writeln!(c, "N(offsetof({name}, {}))", c_field(field))?;
        }
    }
    writeln!(c, "}} }};")?;
    for (index, (structure, field)) in bits(structures).enumerate() {
        let name = &structure.c;
        writeln!(
            c,
            "const struct {{ char mark[20]; unsigned char size[{NUMBER}]; char rest[8]; {name} image; }} \
             session_redis_bits_{index} = {{ \"{IMAGE_MARK}{index:06}\", {{ N(sizeof({name})) }}, \"\", \
             {{ .{field} = -1 }} }};"
        )?;
    }
    Ok(c)
}

fn bits(structures: &[Structure]) -> impl Iterator<Item = (&Structure, &str)> {
    structures
        .iter()
        .flat_map(|structure| structure.bits.iter().map(move |bits| (structure, bits.as_str())))
}

/// What the C compiler has said, in the order in which it was asked.
struct Answer {
    numbers: Vec<usize>,
    places: BTreeMap<usize, Place>,
}

impl Answer {
    fn read(object: &[u8]) -> Result<Self, Box<dyn Error>> {
        let numbers = find(object, LAYOUT_MARK).next().ok_or("the object file holds no answer")?;
        let numbers = numbers.chunks_exact(NUMBER).map(number).collect();
        let mut places = BTreeMap::new();
        for image in find(object, IMAGE_MARK) {
            let index = image.get(..6).and_then(|digits| std::str::from_utf8(digits).ok());
            let Some(index) = index.and_then(|digits| digits.parse().ok()) else { continue };
            // The mark is 14 bytes long, the digits are 6: the size follows, and at 32 the image.
            let size = image.get(6..6 + NUMBER).map(number).ok_or("an image without its size")?;
            let image = image.get(18..18 + size).ok_or("an image that is cut off")?;
            places.insert(index, Place::of(image).ok_or("a bit field that is not one")?);
        }
        Ok(Self { numbers, places })
    }
}

/// All that stands behind a mark.
fn find<'a>(object: &'a [u8], mark: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let places = object.windows(mark.len()).enumerate();
    places
        .filter(move |(_, window)| *window == mark.as_bytes())
        .map(|(at, _)| &object[at + mark.len()..])
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().take(NUMBER).rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

impl Place {
    /// The place of the only ones in an image.
    fn of(image: &[u8]) -> Option<Self> {
        let byte = image.iter().position(|&byte| byte != 0)?;
        let end = image.iter().rposition(|&byte| byte != 0)? + 1;
        let touched = image.get(byte..end).filter(|touched| touched.len() <= 8)?;
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let number = match std::env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
            Ok("big") => touched.iter().fold(0, join),
            _ => touched.iter().rev().fold(0, join),
        };
        let (shift, width) = (number.trailing_zeros(), number.count_ones());
        let is_one = (number >> shift).trailing_ones() == width;
        is_one.then_some(Self { byte, bytes: touched.len(), shift, width })
    }
}

/// One line for each structure: its size, its fields and where they lie.
fn assertions(structures: &[Structure], answer: &Answer) -> Result<String, Box<dyn Error>> {
    let mut rust = String::new();
    let mut numbers = answer.numbers.iter();
    let mut next = || numbers.next().ok_or("the answer is too short");
    for Structure { rust: name, fields, .. } in structures {
        write!(rust, "layout! {{ {name} {}", next()?)?;
        for field in fields {
            write!(rust, ", {field} {}", next()?)?;
        }
        writeln!(rust, " }}")?;
    }
    Ok(rust)
}

/// A module for each structure that has bit fields, in it a constant for each of these.
fn places(structures: &[Structure], answer: &Answer) -> Result<String, Box<dyn Error>> {
    let mut rust = String::new();
    let mut index = 0;
    for structure in structures.iter().filter(|structure| !structure.bits.is_empty()) {
        writeln!(rust, "pub(crate) mod {} {{", structure.module())?;
        writeln!(rust, "    type Of = nginx_sys::{};", structure.rust)?;
        for field in &structure.bits {
            let name = field.to_ascii_uppercase();
            let missing = || format!("{}.{field}: the object file does not say", structure.c);
            let Place { byte, bytes, shift, width } =
                answer.places.get(&index).ok_or_else(missing)?;
            writeln!(
                rust,
                "    pub(crate) const {name}: super::BitField<Of> = \
                 super::BitField::new({byte}, {bytes}, {shift}, {width});"
            )?;
            index += 1;
        }
        writeln!(rust, "}}")?;
    }
    Ok(rust)
}

/// What clippy is to refuse.
fn refused(structures: &[Structure]) -> Result<String, std::fmt::Error> {
    let mut toml = String::from("disallowed-methods = [\n");
    let mut refuse = |path: &str, instead: &str| {
        writeln!(
            toml,
            "    {{ path = \"nginx_sys::bindings::{path}\", reason = \"{instead}\", allow-invalid = true }},"
        )
    };
    for (Structure { rust, .. }, field) in bits(structures) {
        for (before, after) in [("", ""), ("set_", ""), ("", "_raw"), ("set_", "_raw")] {
            let instead =
                "bindgen may have put the bits wrongly, src/module/bits.rs has them right";
            refuse(&format!("{rust}::{before}{field}{after}"), instead)?;
        }
    }
    for helper in HELPERS {
        let path = format!("    {{ path = \"nginx_sys::{helper}\", ");
        writeln!(
            toml,
            "{path}reason = \"it goes by bindgen's bits, src/module/event.rs does not\" }},"
        )?;
    }
    toml.push_str("]\n");
    Ok(toml)
}
