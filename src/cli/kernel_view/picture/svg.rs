//! Writes the few SVG elements that the picture needs.

use std::fmt::Write;

/// A picture under construction: shapes in the order in which they cover each other.
#[derive(Debug, Default)]
pub(super) struct Svg {
    body: String,
}

/// A place, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
}

/// A rectangle, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// How a shape is drawn.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ShapeStyle<'a> {
    pub fill: &'a str,
    pub stroke: &'a str,
    pub width: f64,
    pub dashed: bool,
}

/// How a text is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Font<'a> {
    pub size: f64,
    pub colour: &'a str,
    pub bold: bool,
    pub anchor: Anchor,
}

/// Which part of a text is at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    End,
}

impl Svg {
    /// A rectangle with round corners; a viewer shows `title` when pointed at it.
    pub(super) fn rect(&mut self, at: Rect, radius: f64, look: ShapeStyle<'_>, title: &str) {
        let Rect {
            x,
            y,
            width,
            height,
        } = at;
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.body,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\"{}>{}</rect>",
            attributes(look),
            title_of(title),
        );
    }

    /// Draws a filled circle.
    pub(super) fn circle(&mut self, at: Point, radius: f64, fill: &str) {
        let Point { x, y } = at;
        let _ = writeln!(
            self.body,
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"{fill}\"/>"
        );
    }

    /// A curve between two places that leaves and arrives through `bends`.
    pub(super) fn curve(
        &mut self,
        from: Point,
        bends: [Point; 2],
        to: Point,
        look: ShapeStyle<'_>,
    ) {
        let [first, second] = bends;
        let _ = writeln!(
            self.body,
            "<path d=\"M{} {} C{} {} {} {} {} {}\"{}/>",
            from.x,
            from.y,
            first.x,
            first.y,
            second.x,
            second.y,
            to.x,
            to.y,
            attributes(look),
        );
    }

    /// A line of text.
    pub(super) fn text(&mut self, at: Point, font: Font<'_>, text: &str) {
        let anchor = match font.anchor {
            Anchor::Start => "start",
            Anchor::End => "end",
        };
        let weight = if font.bold {
            " font-weight=\"bold\""
        } else {
            ""
        };
        let _ = writeln!(
            self.body,
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\" text-anchor=\"{anchor}\"{weight}>{}</text>",
            at.x,
            at.y,
            font.size,
            font.colour,
            escape(text),
        );
    }

    /// The finished picture on a white ground.
    pub(super) fn finish(self, width: f64, height: f64) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }
}

fn attributes(look: ShapeStyle<'_>) -> String {
    let or_none = |colour: &str| if colour.is_empty() { "none" } else { colour }.to_owned();
    let mut out = format!(" fill=\"{}\"", or_none(look.fill));
    if !look.stroke.is_empty() {
        out.push_str(&format!(
            " stroke=\"{}\" stroke-width=\"{}\"",
            look.stroke, look.width
        ));
    }
    if look.dashed {
        out.push_str(" stroke-dasharray=\"6 4\"");
    }
    out
}

fn title_of(title: &str) -> String {
    if title.is_empty() {
        return String::new();
    }
    format!("<title>{}</title>", escape(title))
}

/// Text that is safe in XML: names come from people.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter if letter.is_control() => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}

/// A text cut to so many letters.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(
            super::escape("<a href=\"x\">&\u{1b}"),
            "&lt;a href=&quot;x&quot;&gt;&amp;?"
        );
        assert_eq!(super::cut("abcdef", 4), "abc…");
        assert_eq!(super::cut("abcd", 4), "abcd");
    }
}
