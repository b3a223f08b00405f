//! The pure functions of the `crawl` example.

#[path = "../../../examples/crawl/links.rs"]
mod under_test;

use proptest::prelude::*;
use under_test::{links, resolve};

#[test]
fn the_links_of_a_page_are_its_href_and_src_attributes() {
    assert_eq!(links("<a href=\"/a\">x</a><img src='b.png'><a HREF = /c >"), ["/a", "b.png", "/c"]);
    assert_eq!(links("<a class=x href=/a/b?c=d title='>'><b>"), ["/a/b?c=d"]);
    assert_eq!(links("<a title='<a href=\"/no\">' href=/yes>"), ["/yes"]);
    assert_eq!(links("<!-- <a href=/no> --><a href=/yes>"), ["/yes"]);
    let script = "<script src=/s.js>a = '<a href=/no>';</script><a href=/yes>";
    assert_eq!(links(script), ["/s.js", "/yes"]);
    assert_eq!(links("<script>if (a<b) href=/no;</script><a href=/yes>"), ["/yes"]);
    assert_eq!(links("<br/><a data-href=/no href=/yes/>"), ["/yes/"]);
    for none in ["", "<", "<a", "<a href", "<a href=", "< a href=/no>", "a < b href=/no", "<!--"] {
        assert!(links(none).iter().all(|link| link.is_empty()), "{none}");
    }
    assert_eq!(links("<a href='unclosed"), ["unclosed"]);
}

#[test]
fn a_link_becomes_a_path_of_the_same_site() {
    let on = |base: &str, link: &str| resolve(link, base, "host:7000");
    let is = |base: &str, link: &str, path: &str| {
        assert_eq!(on(base, link).as_deref(), Some(path), "{link} on {base}");
    };
    is("/a/b.html", "c.html", "/a/c.html");
    is("/a/b.html", "./c.html", "/a/c.html");
    is("/a/b.html", "../c.html", "/c.html");
    is("/a/b.html", "../../../c.html", "/c.html");
    is("/a/b.html", "/c/", "/c/");
    is("/a/b.html", ".", "/a/");
    is("/a/b/c", "..", "/a/");
    is("/a/b.html?x=/y/z", "c", "/a/c");
    is("/a/b.html?x", "?y=../z", "/a/b.html?y=../z");
    is("/a", " c#part ", "/c");
    is("/a", "c?x&amp;y", "/c?x&y");
    is("/a", "http://HOST:7000", "/");
    is("/a", "http://host:7000/x?y", "/x?y");
    is("/a", "//host:7000/x", "/x");
    is("/a", "x y\"<>\u{e4}", "/x%20y%22%3C%3E%C3%A4");
    is("/a", "/x\r\nHost: evil", "/x%0D%0AHost:%20evil");
    assert_eq!(resolve("http://host:80/x", "/", "host").as_deref(), Some("/x"));
    for elsewhere in [
        "",
        "#part",
        "http://other/",
        "http://host/x",
        "//other",
        "https://host:7000/",
        "mailto:a@b",
        "javascript:x()",
        "data:,x",
        "http:page",
    ] {
        assert_eq!(on("/a", elsewhere), None, "{elsewhere}");
    }
    assert_eq!(on("/", &"x".repeat(3000)), None, "too long");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_page_panics_and_every_link_is_a_clean_path(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(vec![
                    "<", ">", "<a ", "href=", "src=", "\"", "'", "=", "/", "..", "?", "#", "<!--",
                    "-->", "<script", "</script>", " ", "\r\n", "http://host", "//", ":",
                ]).prop_map(str::to_owned),
                "\\PC{0,3}",
            ],
            0..30,
        ),
    ) {
        let page = pieces.concat();
        for link in links(&page) {
            if let Some(path) = resolve(link, "/a/b?c", "host") {
                prop_assert!(path.starts_with('/'));
                prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
                let only_path = path.split('?').next().unwrap();
                prop_assert!(!only_path.split('/').any(|part| part == "." || part == ".."));
            }
        }
    }
}
