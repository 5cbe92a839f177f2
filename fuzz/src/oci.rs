//! What the fuzz target `oci` does with its bytes: everything that a registry, a login file or a helper may say. The same
//! function runs over the committed corpus as an ordinary test of `callao-fetch`, which includes this file.

use callao_fetch::oci::auth;
use callao_fetch::oci::choose::{self, Wanted};
use callao_fetch::oci::login::{self, LoginFile};
use callao_fetch::oci::manifest::{self, Document};
use callao_fetch::oci::reference::Reference;

/// Documents, addresses, challenges and logins: whatever is accepted can be used, and addresses read back as they are.
pub fn oci(data: &[u8]) {
    let kinds = [
        "",
        manifest::INDEX,
        manifest::MANIFEST,
        manifest::DOCKER_LIST,
        "text/html",
    ];
    for kind in kinds {
        match manifest::read(data, kind) {
            Ok(Document::Index(all)) => {
                for arch in ["x86_64", "aarch64", "armv7l"] {
                    let wanted = Wanted::of_lima(arch);
                    if let Ok(chosen) = choose::manifests(&all, &wanted) {
                        assert!(!chosen.is_empty() && chosen.len() <= all.len());
                    }
                }
            }
            Ok(Document::Manifest(one)) => {
                for layer in &one.layers {
                    let Some(title) = layer.annotations.get(manifest::TITLE) else {
                        continue;
                    };
                    let chosen = choose::layer(&one, Some(title));
                    // An empty title names nothing.
                    assert!(chosen.is_ok() || title.is_empty());
                }
                if let Ok(chosen) = choose::layer(&one, None) {
                    assert_eq!(one.layers, [chosen.layer]);
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    let text = String::from_utf8_lossy(data);
    if let Some(Ok(found)) = Reference::parse(&format!("oci://{text}")) {
        assert_eq!(Reference::parse(&found.to_string()), Some(Ok(found)));
    }
    drop(auth::challenges([&*text].into_iter()));
    if let Ok(file) = LoginFile::parse(data) {
        drop(file.find("ghcr.io", "a/b"));
    }
    drop(login::helper_answer(data));
}
