//! The evidence console: HTML, a style sheet, ES modules and an icon, as they are served. Nothing is built, bundled or
//! downloaded; what is in `page/` is what a browser gets, and any static file server can serve the folder.
//!
//! ```
//! let page = cavra_console::files().iter().find(|file| file.path == "index.html").expect("there is a page");
//! assert_eq!(page.content_type, "text/html; charset=utf-8");
//! ```

use std::fmt::Write as _;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// What the page may do: load from where it came, talk to where it came, and nothing else. No inline script or style,
/// no frame, no form that leads away.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; object-src 'none'";

/// One file of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is, relative to the page.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
    /// A strong entity tag: it changes with the bytes.
    pub entity_tag: String,
}

macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../page/", $path)))),*]
    };
}

/// Every file of `page/`; a test holds the list against the folder.
const EMBEDDED: &[(&str, &[u8])] = embedded![
    "index.html",
    "config.js",
    "assets/app.css",
    "assets/icon.svg",
    "assets/app.js",
    "assets/api.js",
    "assets/archive.js",
    "assets/bulk.js",
    "assets/charts.js",
    "assets/deliveries.js",
    "assets/dom.js",
    "assets/export.js",
    "assets/filter.js",
    "assets/format.js",
    "assets/forms.js",
    "assets/history.js",
    "assets/live.js",
    "assets/overview.js",
    "assets/packages.js",
    "assets/past.js",
    "assets/routes.js",
    "assets/rules.js",
    "assets/sample-data.js",
    "assets/sample.js",
    "assets/widgets.js",
];

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    EMBEDDED
        .iter()
        .map(|(path, bytes)| File {
            path,
            content_type: content_type(path),
            bytes,
            entity_tag: entity_tag(bytes),
        })
        .collect()
});

/// The files of the page.
pub fn files() -> &'static [File] {
    &FILES
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn entity_tag(bytes: &[u8]) -> String {
    let mut tag = String::from("\"");
    for byte in Sha256::digest(bytes).iter().take(12) {
        // Writing to a string does not fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::files;

    fn walk(folder: &Path, before: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{before}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_embedded_and_nothing_else() {
        let mut found = BTreeSet::new();
        walk(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("page"),
            "",
            &mut found,
        );
        let embedded: BTreeSet<String> = files().iter().map(|file| file.path.to_owned()).collect();
        assert_eq!(embedded, found);
    }

    #[test]
    fn the_whole_page_weighs_less_than_200_kilobytes() {
        let bytes: usize = files().iter().map(|file| file.bytes.len()).sum();
        assert!(bytes < 200_000, "{bytes} bytes");
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_is_inline() {
        for file in files() {
            let text = std::str::from_utf8(file.bytes).unwrap();
            // An SVG says its namespace as an address, which nobody loads.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for part in [
                "http://",
                "https://",
                "//cdn",
                "eval(",
                "innerHTML",
                "document.write",
                "new Function",
            ] {
                assert!(!text.contains(part), "{}: {part}", file.path);
            }
            if file.content_type.starts_with("text/html") {
                for part in ["<style", " style=", "onclick", "onload", "<script>"] {
                    assert!(!text.contains(part), "{}: {part}", file.path);
                }
            }
        }
    }

    #[test]
    fn each_file_has_a_media_type_and_a_tag_of_its_own() {
        let tags: BTreeSet<&str> = files().iter().map(|file| file.entity_tag.as_str()).collect();
        assert_eq!(tags.len(), files().len());
        for file in files() {
            assert_ne!(file.content_type, "application/octet-stream", "{}", file.path);
        }
    }
}
