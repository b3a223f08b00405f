//! What every chart has: a size, a card, a title, a description for those who do not see it, and
//! lines.

use super::markup::{Markup, Px};

/// Size of ordinary text, in pixels.
pub(super) const TEXT: f64 = 12.0;
/// Height of a line of ordinary text, in pixels.
pub(super) const LINE: f64 = 16.0;
/// Room between a card's edge and what is on it, in pixels.
pub(super) const MARGIN: f64 = 14.0;
/// How every file of a chart begins; then comes its identifier.
pub(super) const FILE_START: &str =
    r#"<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-labelledby=""#;
/// Widths below this are for a phone.
pub(super) const NARROW_MAX: f64 = 450.0;

/// About the mean width of a character, as a share of the font's size. Fonts differ: this is a wide
/// one's.
const ADVANCE: f64 = 0.56;

/// A title's letters are larger than those of text, and bold.
const TITLE_ADVANCE: f64 = 15.0 * 1.12;
const TITLE_LINE: f64 = 20.0;

/// A drawing under way.
#[derive(Debug)]
pub(super) struct Picture {
    title: String,
    description: String,
    width: f64,
    body: Markup,
}

impl Picture {
    /// An empty drawing of `width` pixels, titled. Also the height that the title took.
    pub(super) fn new(title: &str, description: String, width: f64) -> (Picture, f64) {
        let mut body = Markup::default();
        let mut y = MARGIN;
        for line in wrap(title, (width - 2.0 * MARGIN) / TITLE_ADVANCE) {
            y += TITLE_LINE;
            let baseline = Px(y - 5.0);
            let attributes: super::markup::Attributes =
                &[("class", &"title"), ("x", &MARGIN), ("y", &baseline)];
            body.text_element("text", attributes, line);
        }
        (Picture { title: title.to_owned(), description, width, body }, y + 4.0)
    }

    /// Where to draw.
    pub(super) fn body(&mut self) -> &mut Markup {
        &mut self.body
    }

    /// Text that starts at, ends at, or is centred on `x` (`anchor`: "start", "end", "middle").
    pub(super) fn text(
        &mut self,
        class: &str,
        anchor: &str,
        (x, y): (f64, f64),
        text: impl std::fmt::Display,
    ) {
        let (x, y) = (Px(x), Px(y));
        self.body.text_element(
            "text",
            &[("class", &class), ("text-anchor", &anchor), ("x", &x), ("y", &y)],
            text,
        );
    }

    /// A straight line.
    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let path = format!("M{} {}L{} {}", Px(from.0), Px(from.1), Px(to.0), Px(to.1));
        self.body.leaf("path", &[("class", &class), ("d", &path)]);
    }

    /// A filled box.
    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let (x, y, width, height) = (Px(x), Px(y), Px(width.max(0.0)), Px(height.max(0.0)));
        self.body.leaf(
            "rect",
            &[("class", &class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)],
        );
    }

    /// The finished drawing of the given height for a page that has the style sheet already, with
    /// `id` as the prefix of its identifiers.
    pub(super) fn finish(self, height: f64, id: &str) -> Markup {
        self.with_style(height, id, None)
    }

    /// The finished drawing of the given height as a file of its own. `origin` says where it comes
    /// from: pictures travel without their page.
    pub(super) fn finish_file(mut self, height: f64, id: &str, origin: &str) -> Markup {
        for (index, line) in wrap(origin, (self.width - 2.0 * MARGIN) / TEXT).iter().enumerate() {
            self.text("soft", "start", (MARGIN, height + index as f64 * LINE), line);
        }
        self.with_style(height + LINE, id, Some(super::CHART_CSS))
    }

    fn with_style(self, height: f64, id: &str, style: Option<&'static str>) -> Markup {
        let mut markup = Markup::default();
        let (title_id, description_id) = (format!("{id}-t"), format!("{id}-d"));
        let view = format!("0 0 {} {}", Px(self.width), Px(height));
        let labelled = format!("{title_id} {description_id}");
        let (width, height) = (Px(self.width), Px(height));
        let attributes: super::markup::Attributes = &[
            ("xmlns", &"http://www.w3.org/2000/svg"),
            ("class", &"chart"),
            ("role", &"img"),
            ("aria-labelledby", &labelled),
            ("viewBox", &view),
            ("width", &width),
            ("height", &height),
        ];
        markup.element("svg", attributes, |svg| {
            svg.text_element("title", &[("id", &title_id)], &self.title);
            svg.text_element("desc", &[("id", &description_id)], &self.description);
            if let Some(style) = style {
                svg.element("style", &[], |element| element.literal(style));
            }
            let card: super::markup::Attributes =
                &[("class", &"card"), ("width", &width), ("height", &height), ("rx", &8)];
            svg.leaf("rect", card);
            svg.append(&self.body);
        });
        markup
    }
}

/// About the width of `text` of the given size, in pixels.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * ADVANCE
}

/// `text` cut to about `width` pixels of ordinary text, with an ellipsis where something is
/// missing.
pub(super) fn fit(text: &str, width: f64) -> String {
    let room = (width / (TEXT * ADVANCE)).max(1.0) as usize;
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// `text` in lines of about `ems` times the font's size, broken between words.
pub(super) fn wrap(text: &str, ems: f64) -> Vec<String> {
    let room = (ems / ADVANCE).max(8.0) as usize;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        for piece in pieces(word, room) {
            let Some(line) = lines.last_mut() else { continue };
            let length = line.chars().count();
            if length > 0 && length + 1 + piece.chars().count() > room {
                lines.push(piece);
            } else {
                if length > 0 {
                    line.push(' ');
                }
                line.push_str(&piece);
            }
        }
    }
    lines
}

/// A word in pieces of at most `room` characters.
fn pieces(word: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(room).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_between_words_and_within_endless_ones() {
        assert_eq!(wrap("one two three", 4.5), ["one two", "three"]);
        assert_eq!(wrap("abcdefghijklmnop", 4.5), ["abcdefgh", "ijklmnop"]);
        assert_eq!(wrap("", 4.5), [""]);
    }

    #[test]
    fn a_long_name_is_cut_where_the_room_ends() {
        assert_eq!(fit("epoll", 100.0), "epoll");
        let cut = fit(&"x".repeat(100), 67.2);
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (10, true));
    }
}
