//! What a run tells at its end: one line, findings, tables, text.

pub use crate::bindings::exports::upkeep::plugin::task::{Document, Finding, Place, Report, Severity, Table};

impl Report {
    /// A report of one line.
    ///
    /// ```
    /// use upkeep_plugin::{Report, Severity, Table};
    ///
    /// let report = Report::new("2 certificates checked, 1 expires soon")
    ///     .finding(Severity::Medium, "cert/example.org", "example.org expires in 9 days", "Renew it.")
    ///     .table(Table::new("Certificates", ["name", "days left"]).row(["example.org", "9"]).row(["example.com", "80"]));
    /// assert_eq!(report.findings[0].key, "cert/example.org");
    /// ```
    pub fn new(summary: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            findings: Vec::new(),
            tables: Vec::new(),
            text: String::new(),
            unseen: Vec::new(),
            documents: Vec::new(),
        }
    }

    /// Adds a finding. The same finding must have the same `key` in each run: that is how the host knows what is new
    /// and what is gone. `detail` says what it means and what to do about it.
    #[must_use]
    pub fn finding(
        mut self,
        severity: Severity,
        key: impl Into<String>,
        title: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        self.findings.push(Finding::new(severity, key, title, detail));
        self
    }

    /// Adds a table.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    /// Sets the text, in Markdown.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }
}

impl Finding {
    /// A finding without rule, place and fix; see [`Report::finding`].
    pub fn new(
        severity: Severity,
        key: impl Into<String>,
        title: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        let (key, title, detail) = (key.into(), title.into(), detail.into());
        Self { key, severity, title, detail, rule: None, place: None, fix: None }
    }
}

impl Table {
    /// A table without rows.
    pub fn new<C: Into<String>>(title: impl Into<String>, columns: impl IntoIterator<Item = C>) -> Self {
        Self { title: title.into(), columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row: one cell per column.
    #[must_use]
    pub fn row<C: Into<String>>(mut self, cells: impl IntoIterator<Item = C>) -> Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }
}
