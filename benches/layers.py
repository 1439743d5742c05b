"""Which layer of a server the time of a stack belongs to: that of its innermost frame that is of any.

What belongs to nobody (copying, comparing, formatting, the standard library's collections) counts for its caller. Of a program
without symbols only the kernel's layers can be told. Used by flame.py.
"""
import re

# Frames of the kernel, from the innermost outward: the first that matches counts. Loopback delivers a packet within the
# sender's call, so that the receiver's wake-up shows below the network's frames; it is scheduling all the same.
KERNEL = [
    ("kernel: scheduling", r"schedule|futex|ttwu|try_to_wake_up|wake_up|pick_next|enqueue_task|dequeue_task|"
                           r"finish_task_switch|hrtimer|tick_|update_curr|idle"),
    ("kernel: epoll", r"^(do_|__x64_sys_)?epoll|^(__)?ep_"),
    ("kernel: file", r"ext4|jbd2|xfs|btrfs|overlay|vfs_fsync|fdatasync|filemap|folio|writeback|blk_|bio_|submit_bio|"
                     r"virtblk|iomap|nvme|generic_perform_write|pagecache"),
    ("kernel: network", r"tcp|inet|skb|sock|^ip_|__ip_|net_rx|netif|dev_queue_xmit|dev_hard|loopback|napi|nf_|unix_"),
    ("kernel: memory", r"page_fault|handle_mm|mmap|munmap|madvise|mprotect|clear_page|alloc_pages|zap_|rmqueue"),
]
KERNEL_OTHER = "kernel: other"

# Frames of the program: the first name of a crate in the symbol, and libc's allocator.
PROGRAM = [
    ("allocator", r"^(__libc_)?(malloc|free|cfree|calloc|realloc|posix_memalign|aligned_alloc)(@|$)|"
                  r"^_int_(malloc|free|realloc)|^(unlink_chunk|sysmalloc|systrim|malloc_consolidate|tcache_)|^__r(dl|ust)_"),
    ("gRPC and HTTP/2", r"\b(h2|hpack|http|tonic|prost|hyper)::"),
    ("log", r"\bkontiki_log::|\bcrc32"),
    ("raft", r"\bkontiki_raft::"),
    ("transport", r"\bkontiki_transport::"),
    ("kv", r"\bkontiki_kv::"),
    ("state file", r"\bredb::"),
    ("engine", r"\bkontiki_engine::"),
    ("store", r"\bkontiki_store::"),
    ("front door", r"\bkontiki_(server|api)::"),
    ("disk's trait", r"\bkontiki_world::"),
    ("tokio", r"\b(tokio|mio|futures\w*)::"),
]
OTHER = "other"

KERNEL = [(name, re.compile(pattern)) for name, pattern in KERNEL]
PROGRAM = [(name, re.compile(pattern)) for name, pattern in PROGRAM]


def layer(frames):
    """`frames`: (symbol, whether it is the kernel's), innermost first."""
    kernel = [symbol for symbol, of_kernel in frames if of_kernel]
    for symbol in kernel:
        for name, pattern in KERNEL:
            if pattern.search(symbol):
                return name
    if kernel:
        return KERNEL_OTHER
    return next((name for symbol, _ in frames if (name := first_crate(symbol))), OTHER)


def first_crate(symbol):
    """The layer whose name stands first in a symbol: `<h2::Codec as futures::Stream>::poll` is of h2."""
    found = [(match.start(), number) for number, (_, pattern) in enumerate(PROGRAM) if (match := pattern.search(symbol))]
    return PROGRAM[min(found)[1]][0] if found else None
