//! What the fuzz target `merge` does with its bytes. The same function runs over the committed corpus as an ordinary test
//! of `callao-template`, which includes this file; so it uses that crate and the standard library only.

use callao_template::load::{Around, Asker, Document, Loader, load};
use callao_template::{Error, Node, Value};

/// Between two texts.
const SEPARATOR: &str = "\n=====\n";

/// The texts behind the first one: `base: '1'` in any of them names the second, and so on.
struct Texts<'t>(Vec<&'t str>);

impl Loader for Texts<'_> {
    type Error = Option<Error>;

    fn load(&self, locator: &str, _: &Asker<'_>) -> Result<Document, Option<Error>> {
        let index = locator.trim_start_matches('/').parse::<usize>();
        let text = index.ok().and_then(|index| self.0.get(index));
        Ok(document(locator, text.ok_or(None)?))
    }
}

fn document(locator: &str, text: &str) -> Document {
    Document {
        name: locator.to_owned(),
        locator: locator.to_owned(),
        text: text.to_owned(),
    }
}

/// The bytes are templates: the first one is loaded with its bases, which are among the others; the second one is the
/// default and the third the override. Whatever is accepted names no base any more, and comes out the same again.
pub fn merge(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let texts = Texts(text.split(SEPARATOR).collect());
    let around = Around {
        first_base: None,
        default: texts.0.get(1).map(|text| document("/1", text)),
        over: texts.0.get(2).map(|text| document("/2", text)),
        scripts: true,
    };
    for around in [Around::default(), around] {
        let load = || load(&texts, document("/0", texts.0[0]), &around);
        let first = load();
        assert_eq!(first, load());
        let Ok(parsed) = first else { continue };
        assert!(!parsed.template.images.is_empty() || !parsed.template.archives.is_empty());
        assert_eq!(parsed.template.tree.get("base"), None);
        each_once(&parsed.template.tree);
    }
}

/// No mapping has a key twice, whatever it was made of.
fn each_once(node: &Node) {
    match &node.value {
        Value::Map(entries) => {
            let mut keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
            keys.sort_unstable();
            let count = keys.len();
            keys.dedup();
            assert_eq!(keys.len(), count, "a key comes twice");
            entries.iter().for_each(|entry| each_once(&entry.value));
        }
        Value::List(items) => items.iter().for_each(each_once),
        Value::Null | Value::Scalar { .. } => {}
    }
}
