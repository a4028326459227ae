//! Markdown as text for those who show none, and as HTML for mail.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

fn events(markdown: &str) -> Parser<'_> {
    Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH)
}

/// The text without marks: links with their address behind them, points of lists on lines of their own, rows of tables with
/// bars between cells. HTML within Markdown is text.
pub fn plain(markdown: &str) -> String {
    let mut text = Plain::default();
    for event in events(markdown) {
        text.add(event);
    }
    text.out.truncate(text.out.trim_end().len());
    text.out
}

#[derive(Default)]
struct Plain {
    out: String,
    /// Of each list that is open, the number of the next point.
    lists: Vec<Option<u64>>,
    /// Of each link that is open, where it leads and where its text begins.
    links: Vec<(String, usize)>,
    first_cell: bool,
}

impl Plain {
    fn add(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(it) | Event::Code(it) | Event::Html(it) | Event::InlineHtml(it) => self.out.push_str(&it),
            Event::SoftBreak | Event::HardBreak => self.out.push('\n'),
            Event::Rule => self.block("---"),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::Heading { .. } | Tag::CodeBlock(_) | Tag::Table(_) | Tag::HtmlBlock
                if self.lists.is_empty() =>
            {
                self.block("");
            }
            Tag::List(number) => {
                if self.lists.is_empty() {
                    self.block("");
                }
                self.lists.push(number);
            }
            Tag::Item => {
                self.line();
                self.out.push_str(&"  ".repeat(self.lists.len().saturating_sub(1)));
                match self.lists.last_mut() {
                    Some(Some(number)) => {
                        self.out.push_str(&format!("{number}. "));
                        *number += 1;
                    }
                    _ => self.out.push_str("- "),
                }
            }
            Tag::TableHead | Tag::TableRow => {
                self.line();
                self.first_cell = true;
            }
            Tag::TableCell => {
                if !self.first_cell {
                    self.out.push_str(" | ");
                }
                self.first_cell = false;
            }
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push((dest_url.into_string(), self.out.len()));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::List(_) => _ = self.lists.pop(),
            TagEnd::Link | TagEnd::Image => {
                if let Some((address, from)) = self.links.pop()
                    && !address.is_empty()
                    && self.out.get(from..) != Some(address.as_str())
                {
                    self.out.push_str(&format!(" ({address})"));
                }
            }
            _ => {}
        }
    }

    /// Begins a line, unless one has just begun.
    fn line(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
    }

    /// Begins a block with an empty line in front.
    fn block(&mut self, text: &str) {
        self.line();
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
        self.out.push_str(text);
    }
}

/// HTML that may be opened in a mail: HTML within Markdown is text, pictures are their description (a picture from elsewhere
/// tells who reads the mail), and links lead to the web or to mail only.
pub fn to_html(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len() * 3 / 2);
    let safe = events(markdown).filter_map(|event| match event {
        Event::Html(it) | Event::InlineHtml(it) => Some(Event::Text(it)),
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::HtmlBlock) => Some(Event::Start(Tag::Paragraph)),
        Event::End(TagEnd::HtmlBlock) => Some(Event::End(TagEnd::Paragraph)),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = if leads_out(&dest_url) { dest_url } else { CowStr::Borrowed("#") };
            Some(Event::Start(Tag::Link { link_type, dest_url, title, id }))
        }
        event => Some(event),
    });
    html::push_html(&mut out, safe);
    out
}

fn leads_out(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    ["https://", "http://", "mailto:"].iter().any(|it| lower.starts_with(it))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &str = "# Backup *failed*\n\nThe folder `/var` of [web](https://ops.example/web), <https://x.example>:\n\n\
        - one\n- two\n  1. deep\n  2. deeper\n\n| File | Size |\n|---|---:|\n| a | 1 |\n| b | 2 |\n\n```\nraw <b>\n```\n\
        ![a chart](https://track.example/1.png) and <script>alert(1)</script>";

    #[test]
    fn text_for_those_who_show_no_markdown() {
        assert_eq!(
            plain(SAMPLE),
            "Backup failed\n\nThe folder /var of web (https://ops.example/web), https://x.example:\n\n- one\n- two\n  1. deep\n  \
             2. deeper\n\nFile | Size\na | 1\nb | 2\n\nraw <b>\n\na chart (https://track.example/1.png) and <script>alert(1)</script>"
        );
    }

    #[test]
    fn html_for_mail() {
        let html = to_html(SAMPLE);
        assert!(html.contains("<h1>Backup <em>failed</em></h1>"), "{html}");
        assert!(html.contains(r#"<a href="https://ops.example/web">web</a>"#), "{html}");
        assert!(html.contains("<td style=\"text-align: right\">1</td>"), "{html}");
        assert!(!html.contains("<script") && !html.contains("<img") && html.contains("a chart"), "{html}");
        assert!(to_html("[x](javascript:alert(1)) [y](MAILTO:a@b.example)").contains(r##"<a href="#">x</a>"##));
        assert!(
            to_html("<div onclick=\"x\">\nhello\n</div>").contains("&lt;div onclick"),
            "{}",
            to_html("<div onclick=\"x\">\nhello\n</div>")
        );
    }

    proptest! {
        #[test]
        fn html_has_only_tags_of_its_own(text in "[-<>a-z/=\"' \n#*`|\\[\\]()!&;:]{0,120}") {
            let html = to_html(&text);
            for tag in html.split('<').skip(1) {
                let name: String = tag.chars().skip_while(|it| *it == '/').take_while(char::is_ascii_alphanumeric).collect();
                let own = ["h1", "h2", "h3", "h4", "h5", "h6", "p", "a", "em", "strong", "del", "code", "pre", "ul", "ol", "li",
                    "blockquote", "hr", "br", "table", "thead", "tbody", "tr", "th", "td"];
                prop_assert!(own.contains(&name.as_str()), "{} in {}", name, html);
            }
            plain(&text);
        }
    }
}
