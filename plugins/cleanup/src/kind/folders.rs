//! What is known of each folder while a walk is in it. A walk goes through a folder as a whole before it goes on, so that no
//! more has to be remembered than the folders from the top down to where it is.

/// Something for each folder that the walk is in.
#[derive(Debug)]
pub(crate) struct Folders<T> {
    /// From the top down.
    open: Vec<(String, T)>,
}

impl<T> Default for Folders<T> {
    fn default() -> Self {
        Self { open: Vec::new() }
    }
}

impl<T: Default> Folders<T> {
    /// What is known of `folder`, where the walk is now. Folders that it has left are handed to `close`, the deepest first.
    pub(crate) fn at(&mut self, folder: &str, close: impl FnMut(String, T)) -> &mut T {
        self.leave(folder, close);
        if self.open.last().is_none_or(|(path, _)| path != folder) {
            self.open.push((folder.to_owned(), T::default()));
        }
        let last = self.open.len() - 1;
        &mut self.open[last].1
    }
}

impl<T> Folders<T> {
    /// Closes the folders that do not hold `folder`, which itself stays open.
    pub(crate) fn leave(&mut self, folder: &str, mut close: impl FnMut(String, T)) {
        let holds = |path: &str| {
            path.is_empty() || folder.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        while let Some((path, value)) = self.open.pop_if(|(path, _)| !holds(path)) {
            close(path, value);
        }
    }

    /// Closes all folders.
    pub(crate) fn end(&mut self, mut close: impl FnMut(String, T)) {
        while let Some((path, value)) = self.open.pop() {
            close(path, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_closed_when_the_walk_has_left_them() {
        let mut folders = Folders::<u32>::default();
        let mut closed = Vec::new();
        for folder in ["", "a", "a/b", "a", "a/c/d", "ab", "ab/c", ""] {
            *folders.at(folder, |path, count| closed.push((path, count))) += 1;
        }
        folders.end(|path, count| closed.push((path, count)));
        let closed: Vec<_> = closed.iter().map(|(path, count)| (path.as_str(), *count)).collect();
        assert_eq!(closed, [("a/b", 1), ("a/c/d", 1), ("a", 2), ("ab/c", 1), ("ab", 1), ("", 2)]);
    }
}
