//! What a kernel that is booted without a boot loader is told: `images[].kernel.cmdline`. Must not know where it is.

use crate::model::Template;
use crate::tree::Node;

/// The command line of this kernel of this image; `None`: the template says none.
#[must_use]
pub fn kernel_command_line(template: &Template, image: &str, kernel: &str) -> Option<String> {
    let says =
        |node: &Node, key: &str, what: &str| node.get(key).and_then(Node::text) == Some(what);
    let images = template.tree.get("images").map_or(&[][..], Node::items);
    let kernels = images
        .iter()
        .filter(|node| says(node, "location", image))
        .filter_map(|node| node.get("kernel"));
    let mut kernels = kernels.filter(|node| says(node, "location", kernel));
    let line = kernels.find_map(|node| node.get("cmdline").and_then(Node::text))?;
    Some(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn the_line_is_that_of_the_kernel_of_this_image() {
        let text = "images:\n\
            - {location: /a, kernel: {location: /k, cmdline: one}}\n\
            - {location: /b, kernel: {location: /k, cmdline: \"two words\"}}\n\
            - {location: /c, kernel: {location: /k}}\n\
            - {location: /d}\n";
        let template = parse(text, "t").expect("a template").template;
        let table = [
            ("/a", "/k", Some("one")),
            ("/b", "/k", Some("two words")),
            ("/b", "/other", None),
            ("/c", "/k", None),
            ("/d", "/k", None),
        ];
        for (image, kernel, line) in table {
            assert_eq!(
                kernel_command_line(&template, image, kernel).as_deref(),
                line,
                "{image} {kernel}"
            );
        }
    }
}
