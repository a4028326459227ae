//! Memory, tables and instances of one component instance. Memory is summed over all linear memories: a guest with a
//! hundred small memories may not have more than one with a single large one.

use wasmtime::ResourceLimiter;

use crate::config::limits::Limits;

/// Counts what an instance has, and remembers which limit it ran into.
#[derive(Debug)]
pub struct Limiter {
    memory: usize,
    most_memory: usize,
    elements: usize,
    most_elements: usize,
    most_instances: usize,
    exceeded: Option<(&'static str, String)>,
}

impl Limiter {
    /// Nothing is used yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            memory: 0,
            most_memory: limits.memory.bytes(),
            elements: 0,
            most_elements: limits.table_elements as usize,
            most_instances: limits.instances as usize,
            exceeded: None,
        }
    }

    /// Remembers the first limit that the instance ran into: the key in `[limits]`, and what was asked for.
    pub fn exceed(&mut self, limit: &'static str, message: String) {
        self.exceeded.get_or_insert((limit, message));
    }

    /// The first limit that the instance ran into.
    pub fn exceeded(&self) -> Option<&(&'static str, String)> {
        self.exceeded.as_ref()
    }

    /// Bytes of linear memory that the instance has.
    pub fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        if total > self.most_memory {
            let (asked, most) = (total.div_ceil(1 << 20), self.most_memory >> 20);
            self.exceed("memory", format!("{asked} MiB of memory in all, {most} MiB allowed (limits.memory)"));
            return Ok(false);
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.elements.saturating_add(desired.saturating_sub(current));
        if total > self.most_elements {
            let most = self.most_elements;
            self.exceed(
                "table_elements",
                format!("{total} table elements in all, {most} allowed (limits.table_elements)"),
            );
            return Ok(false);
        }
        self.elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.most_instances
    }

    fn tables(&self) -> usize {
        self.most_instances.saturating_mul(4)
    }

    fn memories(&self) -> usize {
        self.most_instances
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_all_memories() {
        let limits = Limits { memory: crate::config::size::Size::mebibytes(2), ..Limits::default() };
        let mut limiter = Limiter::new(&limits);
        assert!(limiter.memory_growing(0, 1 << 20, None).unwrap());
        assert!(limiter.memory_growing(0, 1 << 20, None).unwrap());
        assert!(!limiter.memory_growing(0, 1, None).unwrap());
        assert_eq!(limiter.exceeded().map(|(limit, _)| *limit), Some("memory"));
        assert_eq!(limiter.memory(), 2 << 20);
    }
}
