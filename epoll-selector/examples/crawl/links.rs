//! The links of a page: from HTML to paths of the same site.
//!
//! Everything here is a pure function of the page's bytes.

/// Longest path that is followed, in bytes.
const PATH_MAX: usize = 2048;

/// The values of all `href` and `src` attributes, as they are written. Comments and scripts have
/// none.
pub(crate) fn links(page: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = behind(comment, "-->");
        } else if rest.starts_with(|first: char| first.is_ascii_alphabetic()) {
            let name_end = rest.find(ends_name).unwrap_or(rest.len());
            let (name, attributes) = rest.split_at(name_end);
            rest = read_attributes(attributes, &mut links);
            if ["script", "style"].iter().any(|raw| name.eq_ignore_ascii_case(raw)) {
                rest = behind(rest, "</"); // Enough: another `</` inside only looks like a tag.
            }
        }
    }
    links
}

/// Reads a tag's attributes up to its `>`, and returns what is behind.
fn read_attributes<'p>(mut rest: &'p str, links: &mut Vec<&'p str>) -> &'p str {
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() {
            return rest;
        }
        if let Some(behind) = rest.strip_prefix('>') {
            return behind;
        }
        // A name has at least one character: `=x` is a name too (HTML, section 13.2.5.32).
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = rest[first..].find(ends_name).map_or(rest.len(), |at| first + at);
        let name = &rest[..end];
        rest = rest[end..].trim_ascii_start();
        let Some(value) = rest.strip_prefix('=') else { continue };
        let value = value.trim_ascii_start();
        let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
        let (value, behind) = match quote {
            Some(quote) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
            None => {
                let ends = |c: char| c.is_ascii_whitespace() || c == '>';
                value.split_at(value.find(ends).unwrap_or(value.len()))
            }
        };
        if name.eq_ignore_ascii_case("href") || name.eq_ignore_ascii_case("src") {
            links.push(value);
        }
        rest = behind;
    }
}

fn ends_name(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, '/' | '>' | '=')
}

/// What is behind the first `end`; nothing without it.
fn behind<'p>(text: &'p str, end: &str) -> &'p str {
    text.split_once(end).map_or("", |(_, behind)| behind)
}

/// The path and query of a link on the page `base`, if it leads to the same `host`: without its
/// fragment, without `.` and `..`, and with nothing that a request line must not have.
pub(crate) fn resolve(link: &str, base: &str, host: &str) -> Option<String> {
    let link = link.trim_ascii().replace("&amp;", "&");
    let link = link.split('#').next()?;
    let base_path = base.split('?').next()?;
    let (path, query) = match on_site(link, host)? {
        "" => return None, // The page itself.
        link => link.split_once('?').map_or((link, None), |(path, query)| (path, Some(query))),
    };
    let folder = match path {
        "" => base_path, // Only a query.
        path if path.starts_with('/') => "",
        _ => &base_path[..=base_path.rfind('/')?],
    };
    let mut parts: Vec<&str> = Vec::new();
    let whole = format!("{folder}{path}");
    for part in whole.split('/').skip(1) {
        match part {
            "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    // "a/." and "a/.." are folders.
    if matches!(whole.rsplit('/').next(), Some("." | "..")) {
        parts.push("");
    }
    let mut resolved = format!("/{}", parts.join("/"));
    if let Some(query) = query {
        resolved += &format!("?{query}");
    }
    let resolved = escape(&resolved);
    (resolved.len() <= PATH_MAX).then_some(resolved)
}

/// The link without scheme and host, if those are the site's.
fn on_site<'l>(link: &'l str, host: &str) -> Option<&'l str> {
    let behind_scheme = match link.find([':', '/', '?']) {
        Some(at) if link[at..].starts_with(':') => {
            link[..at].eq_ignore_ascii_case("http").then(|| &link[at + 1..])?
        }
        _ => link,
    };
    let Some(address) = behind_scheme.strip_prefix("//") else {
        // "http:page" is an old way to write "page" that no site needs.
        return (behind_scheme.len() == link.len()).then_some(link);
    };
    let end = address.find(['/', '?']).unwrap_or(address.len());
    let (authority, path) = address.split_at(end);
    let without_port = |authority: &str| authority.trim_end_matches(":80").to_ascii_lowercase();
    let same = without_port(authority) == without_port(host);
    same.then_some(if path.is_empty() { "/" } else { path })
}

/// Writes what a request line must not have as `%20` and so on: a line end here would be a second
/// request.
fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'"' | b'<' | b'>' => escaped += &format!("%{byte:02X}"),
            byte if byte.is_ascii_graphic() => escaped.push(char::from(byte)),
            byte => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}
