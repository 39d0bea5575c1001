//! Cycles in a graph of dependencies between transactions.
//!
//! ```text
//! all edges ─▶ strongly connected components (Tarjan) ─▶ in each, for each edge of a kind:
//!              the shortest way back, breadth first   ─▶ a short cycle to read
//! ```

use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependency {
    /// The target overwrote what the source wrote.
    Ww { key: u64, from: u64, to: u64 },
    /// The target read what the source wrote.
    Wr { key: u64, element: u64 },
    /// The target overwrote what the source read.
    Rw { key: u64, element: u64 },
    /// The source had ended before the target began.
    RealTime,
}

impl Dependency {
    pub fn is_rw(self) -> bool {
        matches!(self, Dependency::Rw { .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub why: Dependency,
}

/// Nodes are numbers below `edges.len()`.
#[derive(Clone, Debug)]
pub struct Graph {
    edges: Vec<Vec<Edge>>,
}

impl Graph {
    pub fn new(nodes: usize) -> Self {
        Self { edges: vec![Vec::new(); nodes] }
    }

    pub fn add(&mut self, from: usize, to: usize, why: Dependency) {
        let known = self.edges[from].iter().any(|edge| {
            edge.to == to && std::mem::discriminant(&edge.why) == std::mem::discriminant(&why)
        });
        if from != to && !known {
            self.edges[from].push(Edge { from, to, why });
        }
    }

    /// The graph with only the edges that `keep` says.
    pub fn only(&self, keep: impl Fn(Dependency) -> bool) -> Self {
        let kept = |edges: &Vec<Edge>| edges.iter().filter(|e| keep(e.why)).copied().collect();
        Self { edges: self.edges.iter().map(kept).collect() }
    }

    /// The component of each node; nodes of one component reach each other.
    pub fn components(&self) -> Vec<usize> {
        let nodes = self.edges.len();
        let mut tarjan = Tarjan {
            index: vec![usize::MAX; nodes],
            low: vec![0; nodes],
            on_stack: vec![false; nodes],
            stack: Vec::new(),
            component: vec![usize::MAX; nodes],
            next_index: 0,
            components: 0,
        };
        for node in 0..nodes {
            if tarjan.index[node] == usize::MAX {
                tarjan.visit(node, &self.edges);
            }
        }
        tarjan.component
    }

    /// Edges whose ends reach each other: those that lie on cycles.
    pub fn cyclic_edges(&self) -> Vec<Edge> {
        let component = self.components();
        let edges = self.edges.iter().flatten();
        edges.filter(|edge| component[edge.from] == component[edge.to]).copied().collect()
    }

    /// The shortest way back from `first.to` to `first.from`, `first` put before it. With `apart`,
    /// no two rw follow each other, around the corner neither.
    pub fn cycle_through(&self, first: Edge, apart: bool) -> Option<Vec<Edge>> {
        // A place is a node and whether it was reached by rw.
        let place = |node: usize, by_rw: bool| 2 * node + usize::from(apart && by_rw);
        let mut came_by: Vec<Option<Edge>> = vec![None; 2 * self.edges.len()];
        let mut before: Vec<usize> = vec![usize::MAX; 2 * self.edges.len()];
        let start = place(first.to, first.why.is_rw());
        let mut open = VecDeque::from([start]);
        while let Some(at) = open.pop_front() {
            for edge in &self.edges[at / 2] {
                let rw = edge.why.is_rw();
                let closes = edge.to == first.from;
                if apart && rw && (at % 2 == 1 || (closes && first.why.is_rw())) {
                    continue;
                }
                if closes {
                    let mut cycle = vec![*edge];
                    let mut back = at;
                    while let Some(edge) = came_by[back] {
                        cycle.push(edge);
                        back = before[back];
                    }
                    cycle.push(first);
                    cycle.reverse();
                    return Some(cycle);
                }
                let next = place(edge.to, rw);
                if next != start && came_by[next].is_none() {
                    came_by[next] = Some(*edge);
                    before[next] = at;
                    open.push_back(next);
                }
            }
        }
        None
    }
}

struct Tarjan {
    index: Vec<usize>,
    low: Vec<usize>,
    on_stack: Vec<bool>,
    stack: Vec<usize>,
    component: Vec<usize>,
    next_index: usize,
    components: usize,
}

impl Tarjan {
    /// Depth first from `root`, with a stack of its own: histories are longer than a thread's.
    fn visit(&mut self, root: usize, edges: &[Vec<Edge>]) {
        let mut path = vec![(root, 0)];
        self.open(root);
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            if let Some(edge) = edges[node].get(*next) {
                *next += 1;
                if self.index[edge.to] == usize::MAX {
                    self.open(edge.to);
                    path.push((edge.to, 0));
                } else if self.on_stack[edge.to] {
                    self.low[node] = self.low[node].min(self.index[edge.to]);
                }
                continue;
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                self.low[*parent] = self.low[*parent].min(self.low[node]);
            }
            if self.low[node] == self.index[node] {
                self.close(node);
            }
        }
    }

    fn open(&mut self, node: usize) {
        self.index[node] = self.next_index;
        self.low[node] = self.next_index;
        self.next_index += 1;
        self.stack.push(node);
        self.on_stack[node] = true;
    }

    fn close(&mut self, root: usize) {
        while let Some(node) = self.stack.pop() {
            self.on_stack[node] = false;
            self.component[node] = self.components;
            if node == root {
                break;
            }
        }
        self.components += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: usize, edges: &[(usize, usize, Dependency)]) -> Graph {
        let mut graph = Graph::new(nodes);
        edges.iter().for_each(|(from, to, why)| graph.add(*from, *to, *why));
        graph
    }

    const WR: Dependency = Dependency::Wr { key: 0, element: 0 };
    const RW: Dependency = Dependency::Rw { key: 0, element: 0 };

    #[test]
    fn components_are_those_that_reach_each_other() {
        let graph =
            graph(6, &[(0, 1, WR), (1, 2, WR), (2, 0, RW), (2, 3, WR), (3, 4, WR), (4, 3, RW)]);
        let component = graph.components();
        assert_eq!(component[0], component[1]);
        assert_eq!(component[1], component[2]);
        assert_eq!(component[3], component[4]);
        assert_ne!(component[0], component[3]);
        assert!(component[5] != component[0] && component[5] != component[3]);
        assert_eq!(graph.cyclic_edges().len(), 5);
    }

    #[test]
    fn the_shortest_way_back_is_found_and_rw_are_kept_apart_when_asked() {
        let graph = graph(4, &[(0, 1, RW), (1, 0, RW), (1, 2, WR), (2, 3, RW), (3, 0, WR)]);
        let first = graph.edges[0][0];
        let shortest = graph.cycle_through(first, false).unwrap();
        assert_eq!(shortest.iter().map(|edge| edge.from).collect::<Vec<_>>(), [0, 1]);
        let apart = graph.cycle_through(first, true).unwrap();
        assert_eq!(apart.iter().map(|edge| edge.from).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(graph.only(|why| why == RW).cycle_through(first, true).is_none());
    }

    #[test]
    fn a_long_path_needs_no_deep_stack() {
        let nodes = 200_000;
        let mut edges: Vec<_> = (1..nodes).map(|node| (node - 1, node, WR)).collect();
        edges.push((nodes - 1, 0, WR));
        let component = graph(nodes, &edges).components();
        assert!(component.iter().all(|one| *one == component[0]));
    }
}
