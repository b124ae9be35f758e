//! What is done to the disks of a world's nodes: stopping on one copy and starting on another, and damage.

use tombolo_crdt::SpaceId;
use tombolo_node::engine::Input;
use tombolo_node::store::{Batch, Store, StoreOptions};

use super::{NodeNo, SimNode, World};
use crate::disk::Disk;

/// A copy of a node's disk.
#[derive(Debug)]
pub struct Image(Disk);

impl World {
    /// Kills a node and starts it again on what its disk holds. Its connections are gone.
    pub fn restart(&mut self, node: NodeNo) {
        let image = self.image(node);
        self.restore(node, image);
    }

    /// A copy of a node's disk.
    #[must_use]
    pub fn image(&self, node: NodeNo) -> Image {
        Image(self.nodes[node].disk.image())
    }

    /// Kills a node and starts it on a copy of its disk that was taken earlier.
    pub fn restore(&mut self, node: NodeNo, image: Image) {
        for other in 0..self.nodes.len() {
            self.disconnect(node, other);
        }
        let key = self.nodes[node].key.clone();
        let seed = self.dice.bytes();
        self.nodes[node] = SimNode::start(node, key, image.0, seed);
        // As the runtime does: the engine says when it wants to be woken.
        self.step(node, vec![Input::Timer]);
    }

    /// Stops a node, flips a bit of what is stored of an entity, and starts the node again.
    ///
    /// # Panics
    /// If there is no such entity.
    pub fn rot(&mut self, node: NodeNo, stored: &[u8]) {
        let image = self.image(node);
        let seed = self.dice.number();
        assert!(image.0.flip_bit_in(stored, seed) > 0, "it is in the file");
        self.restore(node, image);
    }

    /// Stops a node, has its store changed behind its back, and starts it again.
    ///
    /// # Panics
    /// If the store cannot be changed.
    pub fn tamper(&mut self, node: NodeNo, change: impl FnOnce(&mut Batch<'_>)) {
        let image = self.image(node);
        let backend = image.0.clone();
        let options = StoreOptions::new(format!("node-{node}"));
        let store = Store::open_with_backend(move || Ok(backend.clone()), image.0.clone(), options);
        let store = store.expect("memory opens");
        let mut batch = store.begin().expect("a transaction");
        change(&mut batch);
        batch.commit().expect("committed");
        drop(store);
        self.restore(node, image);
    }

    /// The row of an entity as it is stored.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn row(&self, node: NodeNo, space: SpaceId, collection: &str, id: &str) -> Vec<u8> {
        let reading = self.engine(node).reader().reading().expect("a reading");
        let no = reading.space(space).expect("readable").expect("held").space_no;
        reading.row(no, collection, id).expect("readable").expect("there is a row")
    }

    /// Fills a node's disk, or gives it room again.
    pub fn fill_disk(&mut self, node: NodeNo, full: bool) {
        self.nodes[node].disk.set_free(full.then_some(1 << 20));
    }

    /// Lets a node's disk fail every write, or work again.
    pub fn fail_disk(&mut self, node: NodeNo, failing: bool) {
        self.nodes[node].disk.set_failing(failing);
    }
}
