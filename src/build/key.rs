//! The keys of the cache: everything that the result of a step depends on.
//!
//! | part | why |
//! |---|---|
//! | the ID of the image below | it names all files and the whole config before the step |
//! | the instruction, with the values of its variables | what is done |
//! | for `RUN`, the declared build arguments with a value | the command sees them in its environment |
//! | for `COPY` and `ADD`, the digest of what is copied | paths, content, modes, owners, attributes; no times |
//! | for an instruction that changes the config only, the config after it | that is its result |

use serde_json::{Value, json};

use crate::image::digest::Digest;

/// The version of the keys. A change of what a step does takes another one.
const VERSION: u32 = 3;

/// The key of a step on top of an image. `below` is None for `scratch`.
pub fn key_of(below: Option<&Digest>, instruction: &str, parts: Value) -> Digest {
    let below = below.map(Digest::to_string);
    Digest::of(json!([VERSION, below, instruction, parts]).to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_changes_the_key() {
        let image = Digest::of(b"image");
        let keys = [
            key_of(None, "RUN a", json!([])),
            key_of(Some(&image), "RUN a", json!([])),
            key_of(Some(&image), "RUN b", json!([])),
            key_of(Some(&image), "RUN b", json!(["x=1"])),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
        assert_eq!(key_of(None, "RUN a", json!([])), keys[0]);
    }
}
