//! Where the program's memory comes from. A start asks a thousand times for a small piece: each is cut off the rest of a chunk
//! by one addition, or taken from those that were given back. A C library's allocator looks into several lists for each
//! (glibc), or asks the kernel every few kilobytes and gives them back at once (musl); that was a fifth of what a start executes.
//!
//! Pieces of up to 1 KiB come in sizes of 16 bytes each, and what is given back waits in a list of its size for the next that
//! asks for as much. So what was in use at one moment is never given to other sizes: a program that runs on and on needs no
//! more than its largest moments. Larger pieces, and the chunks, are the C library's.
//!
//! A thread has lists of its own, and takes what others' pieces it gives back into them. What a thread still has when it ends
//! is lost: no more than a chunk and its lists.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

/// Pieces are whole numbers of this, which is as much as any type's alignment but for a few.
const UNIT: usize = 16;
/// The largest piece that is ours, in units.
const LARGEST: usize = 64;
/// So much is taken from the C library at once.
const CHUNK: usize = 64 * 1024;

/// The allocator, to be named as the program's.
pub(crate) struct Heap;

/// What a thread has to give.
struct Lists {
    /// Where the rest of the chunk begins.
    rest: Cell<*mut u8>,
    /// How much of it there is.
    left: Cell<usize>,
    /// The first free piece of each size in units; each holds the address of the next.
    free: [Cell<*mut u8>; LARGEST + 1],
}

thread_local! {
    // Constant and without a destructor: so it's only an address, and to use it asks for no memory.
    static LISTS: Lists = const {
        Lists { rest: Cell::new(ptr::null_mut()), left: Cell::new(0), free: [const { Cell::new(ptr::null_mut()) }; LARGEST + 1] }
    };
}

/// How many units a piece has; none where it's the C library's.
fn units(layout: Layout) -> Option<usize> {
    let units = layout.size().div_ceil(UNIT);
    (units <= LARGEST && layout.align() <= UNIT).then_some(units)
}

impl Lists {
    fn take(&self, units: usize) -> *mut u8 {
        let free = self.free[units].get();
        if !free.is_null() {
            // SAFETY: a piece in a list is nobody's, at least a unit long, and begins with what `give` wrote there.
            self.free[units].set(unsafe { free.cast::<*mut u8>().read() });
            return free;
        }
        self.cut(units * UNIT)
    }

    fn give(&self, piece: *mut u8, units: usize) {
        // SAFETY: it was handed out by `take` with as many units, so it is ours, long enough for an address and aligned for
        // one; whoever had it gives it up.
        unsafe { piece.cast::<*mut u8>().write(self.free[units].get()) };
        self.free[units].set(piece);
    }

    /// A piece of the chunk's rest; null where there's no memory.
    fn cut(&self, size: usize) -> *mut u8 {
        if self.left.get() < size && !self.renew() {
            return ptr::null_mut();
        }
        let piece = self.rest.get();
        self.left.set(self.left.get() - size);
        // SAFETY: `left` says that the chunk goes on for at least `size` bytes from here.
        self.rest.set(unsafe { piece.add(size) });
        piece
    }

    /// Another chunk. What is left of the last one is forgotten: less than the largest piece.
    #[cold]
    fn renew(&self) -> bool {
        // SAFETY: neither zero bytes, nor an alignment that isn't a power of two.
        let chunk = unsafe { System.alloc(Layout::from_size_align_unchecked(CHUNK, UNIT)) };
        if chunk.is_null() {
            return false;
        }
        self.rest.set(chunk);
        self.left.set(CHUNK);
        true
    }

    /// Whether the last piece that was cut off could be made this much longer where it is: words that are put together piece
    /// by piece grow so.
    fn stretch(&self, piece: *mut u8, size: usize, longer: usize) -> bool {
        let more = longer - size;
        let is_last = piece.wrapping_add(size) == self.rest.get();
        if is_last && more <= self.left.get() {
            self.left.set(self.left.get() - more);
            self.rest.set(piece.wrapping_add(longer));
            return true;
        }
        false
    }
}

// SAFETY: pieces that are handed out don't overlap, as each is either cut off a chunk once, or was given back before; they are
// as long as asked for, and lie at multiples of 16, as the chunks do. Nothing here panics or asks for memory in turn.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match units(layout) {
            Some(units) => LISTS.with(|lists| lists.take(units)),
            // SAFETY: the caller's promises are those that it wants.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match units(layout) {
            Some(units) => LISTS.with(|lists| lists.give(piece, units)),
            // SAFETY: this layout went to the C library when it was asked for, too.
            None => unsafe { System.dealloc(piece, layout) },
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size` fits this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (units(layout), units(wanted)) {
            // SAFETY: it's the C library's, and stays so.
            (None, None) => return unsafe { System.realloc(piece, layout, size) },
            (Some(had), Some(wants)) if had == wants => return piece,
            (Some(had), Some(wants))
                if had < wants && LISTS.with(|lists| lists.stretch(piece, had * UNIT, wants * UNIT)) =>
            {
                return piece;
            }
            _ => {}
        }
        // SAFETY: two pieces that don't overlap, each of them at least as long as what is copied; the old one is given back as
        // it was asked for.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                ptr::copy_nonoverlapping(piece, new, layout.size().min(size));
                self.dealloc(piece, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece in use: where, how it was asked for, and the byte that it's full of.
    type Piece = (*mut u8, Layout, u8);

    fn fill((piece, layout, byte): Piece) -> Piece {
        assert!(!piece.is_null() && piece.align_offset(layout.align()) == 0, "{layout:?}");
        // SAFETY: the piece is as long as asked for.
        unsafe { piece.write_bytes(byte, layout.size()) };
        (piece, layout, byte)
    }

    fn holds((piece, _, byte): Piece, size: usize) {
        // SAFETY: it was filled with as many bytes.
        let bytes = unsafe { std::slice::from_raw_parts(piece, size) };
        assert!(bytes.iter().all(|own| *own == byte), "another piece lies in {size} bytes of {byte}");
    }

    /// Pieces of all sizes, made longer and shorter and given back in no order: none ever lies in another. Some are of the
    /// sizes and alignments that aren't ours.
    #[test]
    fn no_piece_lies_in_another() {
        let mut number = 1_u64;
        let mut random = |below: usize| {
            // Numerical Recipes' generator; the high bits are the good ones.
            number = number.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (number >> 33) as usize % below
        };
        let mut pieces: Vec<Piece> = Vec::new();
        for turn in 0..100_000_usize {
            let size = 1 + random(if turn % 10 == 0 { 5000 } else { 300 });
            match random(3) {
                0 if !pieces.is_empty() => {
                    let (piece, layout, byte) = pieces.swap_remove(random(pieces.len()));
                    holds((piece, layout, byte), layout.size());
                    // SAFETY: it was asked for so, and isn't used again.
                    unsafe { Heap.dealloc(piece, layout) };
                }
                1 if !pieces.is_empty() => {
                    let (piece, layout, byte) = pieces.swap_remove(random(pieces.len()));
                    // SAFETY: it was asked for so, no size is zero, and the old address isn't used again.
                    let moved = unsafe { Heap.realloc(piece, layout, size) };
                    holds((moved, layout, byte), layout.size().min(size));
                    let layout = Layout::from_size_align(size, layout.align()).unwrap();
                    pieces.push(fill((moved, layout, byte)));
                }
                _ => {
                    let align = 1 << random(7);
                    let layout = Layout::from_size_align(size, align).unwrap();
                    // SAFETY: no size is zero.
                    pieces.push(fill((unsafe { Heap.alloc(layout) }, layout, turn as u8)));
                }
            }
        }
        for (piece, layout, byte) in pieces {
            holds((piece, layout, byte), layout.size());
            // SAFETY: as above.
            unsafe { Heap.dealloc(piece, layout) };
        }
    }

    /// What was given back is used again: to ask for the same again and again costs nothing.
    #[test]
    fn what_is_given_back_is_used_again() {
        let layout = Layout::from_size_align(48, 8).unwrap();
        // SAFETY: no size is zero, and each is given back as it was asked for, once.
        let addresses: Vec<usize> = (0..1000)
            .map(|_| unsafe {
                let piece = Heap.alloc(layout);
                Heap.dealloc(piece, layout);
                piece as usize
            })
            .collect();
        assert!(addresses.iter().all(|address| *address == addresses[0]));
    }

    /// Threads share nothing but what they hand each other.
    #[test]
    fn a_piece_may_be_given_back_by_another_thread() {
        let layout = Layout::from_size_align(64, 16).unwrap();
        let made = std::thread::spawn(move || {
            // SAFETY: no size is zero.
            let all = (0..2000).map(|index| fill((unsafe { Heap.alloc(layout) }, layout, index as u8)));
            all.map(|(piece, _, byte)| (piece as usize, byte)).collect::<Vec<_>>()
        });
        for (address, byte) in made.join().unwrap() {
            holds((address as *mut u8, layout, byte), 64);
            // SAFETY: it was asked for so, and isn't used again.
            unsafe { Heap.dealloc(address as *mut u8, layout) };
        }
        // SAFETY: no size is zero.
        holds(fill((unsafe { Heap.alloc(layout) }, layout, 7)), 64);
    }
}
