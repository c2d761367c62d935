/*
 * zkload: load for a ZooKeeper ensemble, made so cheaply that the server under test is what gets measured.
 *
 * One thread, plain epoll, no library beside libc.  Requests are encoded once; sending one is a copy and a
 * patch of its xid and of the digits in its path.  Of a reply only length, xid and err are looked at, the
 * body is skipped unread.  Sessions are real: connect request, pings, closeSession.
 *
 * Loads:
 *   closed     every connection has one request in flight: latency under N independent callers
 *   pipelined  every connection keeps `window` requests in flight: throughput
 *   (rate)     with --rate, requests fall due at a fixed pace and latency counts from when they were due, so
 *              that a stalled server cannot hide its stall by being asked less often
 *   watch      every connection watches one node, a writer sets it: time until the last one has been told
 *
 * All nodes live below one root that the run creates and removes again.  The result is one JSON object on
 * stdout; messages for people go to stderr.  Exit: 0 measured, 1 not measured, 2 bad arguments.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull
#define HEAD_BYTES 20u            /* a frame's length and its first 16 bytes: all we read of a reply */
#define MAX_FRAME_BYTES (64u << 20)
#define MAX_PAYLOAD_BYTES (16u << 20)
#define MAX_CONNECTIONS 20000u
#define MAX_WINDOW 10000u
#define MAX_SERVERS 64u
#define MAX_PIDS 64u
#define MAX_SECONDS 3600u         /* of per-second rates kept */
#define SETUP_WINDOW 256u         /* in flight on one connection while nodes are made and removed */
#define RETRY_NS (50 * NS_PER_MS) /* between two attempts to get a session */
#define CLOSE_NS (5 * NS_PER_S)   /* for goodbyes at the end */
#define CLEANUP_NS (120 * NS_PER_S)

enum op { OP_GET, OP_SET, OP_CREATE, OP_EXISTS, OP_CHILDREN, OP_SYNC, OP_COUNT };
static const char *const op_names[OP_COUNT] = {"get", "set", "create", "exists", "children", "sync"};
static const int32_t op_codes[OP_COUNT] = {4, 5, 1, 3, 8, 9};
enum { CODE_DELETE = 2, CODE_PING = 11, CODE_CLOSE = -11, XID_EVENT = -1, XID_PING = -2 };
enum { ERR_NONODE = -101 };

enum mode { MODE_CLOSED, MODE_PIPELINED, MODE_WATCH };
static const char *const mode_names[] = {"closed", "pipelined", "watch"};

struct address {
    char text[256];
    struct sockaddr_storage where;
    socklen_t length;
};

static struct {
    enum mode mode;
    unsigned connections, window, size, keys, children, parents, session_timeout_ms, connect_timeout_s;
    double warmup_s, duration_s, rate, deadline_s;
    uint64_t count, seed;
    unsigned weights[OP_COUNT];
    bool mixed, keep, ephemeral, dump;
    char root[256];
    struct address servers[MAX_SERVERS];
    unsigned server_count;
    pid_t pids[MAX_PIDS];
    unsigned pid_count;
} opt = {
    .mode = MODE_CLOSED, .connections = 50, .window = 100, .size = 100, .keys = 1000, .children = 10,
    .parents = 64, .session_timeout_ms = 30000, .connect_timeout_s = 15, .warmup_s = 2, .duration_s = 10,
    .seed = 1,
};

static void die(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
static void die(int code, const char *format, ...) {
    va_list list;
    va_start(list, format);
    fputs("zkload: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    exit(code);
}

static void *must(void *memory) {
    if (memory == NULL)
        die(1, "out of memory");
    return memory;
}

static uint64_t clock_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * NS_PER_S + (uint64_t)at.tv_nsec;
}

static uint64_t random_state;
static uint64_t next_random(void) { /* xorshift64*: reproducible from --seed */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717ull;
}

/* ---- latency histogram: 128 buckets per power of two, so a value is known within 0.4 % ---- */

#define SUB_BITS 7u
#define SUB (1u << SUB_BITS)
#define BUCKETS ((64 - SUB_BITS + 1) * SUB)

struct histogram {
    uint64_t count, sum, max;
    uint64_t buckets[BUCKETS];
};

static void record(struct histogram *h, uint64_t ns) {
    unsigned shift = ns < SUB ? 0 : 63u - (unsigned)__builtin_clzll(ns) - SUB_BITS;
    h->buckets[shift * SUB + (ns >> shift)]++;
    h->count++;
    h->sum += ns;
    if (ns > h->max)
        h->max = ns;
}

static uint64_t bucket_middle(unsigned index) {
    if (index < 2 * SUB)
        return index;
    unsigned shift = index / SUB - 1;
    uint64_t low = (uint64_t)(index % SUB + SUB) << shift;
    return low + ((1ull << shift) >> 1);
}

static uint64_t quantile(const struct histogram *h, double q) {
    uint64_t rank = (uint64_t)(q * (double)h->count), seen = 0;
    if ((double)rank < q * (double)h->count || rank == 0)
        rank++;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank && h->buckets[i] > 0) {
            uint64_t middle = bucket_middle(i);
            return middle < h->max ? middle : h->max;
        }
    }
    return h->max;
}

static void print_histogram(const struct histogram *h) {
    static const struct { const char *name; double q; } wanted[] = {
        {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999},
    };
    double mean = h->count ? (double)h->sum / (double)h->count : 0;
    printf("{\"count\": %llu, \"mean\": %.3f", (unsigned long long)h->count, mean / 1e3);
    for (unsigned i = 0; i < 4; i++)
        printf(", \"%s\": %.3f", wanted[i].name, h->count ? (double)quantile(h, wanted[i].q) / 1e3 : 0.0);
    printf(", \"max\": %.3f}", (double)h->max / 1e3);
}

/* ---- encoded requests ---- */

struct buffer {
    uint8_t *bytes;
    size_t length, capacity;
};

static uint8_t *grow(struct buffer *b, size_t more) { /* room for `more` bytes at the end, counted as used */
    if (b->length + more > b->capacity) {
        size_t capacity = b->capacity ? b->capacity : 4096;
        while (capacity < b->length + more)
            capacity *= 2;
        b->bytes = must(realloc(b->bytes, capacity));
        b->capacity = capacity;
    }
    b->length += more;
    return b->bytes + b->length - more;
}

static void store32(uint8_t *at, uint32_t value) {
    value = __builtin_bswap32(value);
    memcpy(at, &value, 4);
}

static uint32_t load32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return __builtin_bswap32(value);
}

static void put32(struct buffer *b, int32_t value) { store32(grow(b, 4), (uint32_t)value); }
static void put64(struct buffer *b, int64_t value) {
    put32(b, (int32_t)(value >> 32));
    put32(b, (int32_t)value);
}
static void put_bytes(struct buffer *b, const void *bytes, size_t length) {
    put32(b, (int32_t)length);
    memcpy(grow(b, length), bytes, length);
}
static void put_text(struct buffer *b, const char *text) { put_bytes(b, text, strlen(text)); }

static void begin(struct buffer *b, int32_t xid, int32_t code) {
    put32(b, 0);
    put32(b, xid);
    put32(b, code);
}

static void end(struct buffer *b, size_t start) {
    store32(b->bytes + start, (uint32_t)(b->length - start - 4));
}

static void put_create(struct buffer *b, const char *path, const void *data, size_t size, int32_t flags) {
    put_text(b, path);
    put_bytes(b, data, size);
    put32(b, 1); /* one ACL: world:anyone, all permissions */
    put32(b, 31);
    put_text(b, "world");
    put_text(b, "anyone");
    put32(b, flags);
}

#define KEY_DIGITS 7u
#define PARENT_DIGITS 4u
#define NODE_DIGITS 12u

/* A request whose path has up to two numbers of fixed width to fill in. */
static struct template {
    struct buffer frame;
    size_t first, second; /* where the numbers start; 0 for none */
} templates[OP_COUNT];

static uint8_t *payload;

static void write_digits(uint8_t *at, uint64_t value, unsigned digits) {
    while (digits-- > 0) {
        at[digits] = (uint8_t)('0' + value % 10);
        value /= 10;
    }
}

static void make_templates(void) {
    char path[sizeof opt.root + 64];
    for (unsigned op = 0; op < OP_COUNT; op++) {
        struct template *t = &templates[op];
        struct buffer *b = &t->frame;
        size_t path_at = 16; /* length, xid, type, path length */
        begin(b, 0, op_codes[op]);
        if (op == OP_CREATE) {
            snprintf(path, sizeof path, "%s/p/%04u/n%012u", opt.root, 0, 0);
            put_create(b, path, payload, opt.size, opt.ephemeral ? 1 : 0);
            t->second = path_at + strlen(path) - NODE_DIGITS;
            t->first = t->second - 2 - PARENT_DIGITS;
        } else if (op == OP_CHILDREN) {
            snprintf(path, sizeof path, "%s/d", opt.root);
            put_text(b, path);
        } else {
            snprintf(path, sizeof path, "%s/k/%07u", opt.root, 0);
            put_text(b, path);
            t->first = path_at + strlen(path) - KEY_DIGITS;
        }
        if (op == OP_SET) {
            put_bytes(b, payload, opt.size);
            put32(b, -1);
        } else if (op == OP_GET || op == OP_EXISTS || op == OP_CHILDREN) {
            *grow(b, 1) = 0; /* no watch */
        }
        end(b, 0);
    }
}

/* ---- connections ---- */

enum state { UNCONNECTED, CONNECTING, HANDSHAKE, READY, DEAD };

struct pending {
    uint64_t since; /* when it was sent, or was due */
    uint8_t op;
};

struct conn {
    int fd;
    enum state state;
    unsigned index;
    bool want_write, todo;
    int32_t next_xid, expected_xid;
    uint8_t head[HEAD_BYTES];
    unsigned have;
    uint32_t skip;
    struct buffer out;
    size_t out_sent;
    struct pending *ring; /* requests in flight, oldest at `oldest` */
    unsigned capacity, oldest, inflight;
    uint64_t last_send, retry_at;
};

static struct conn *conns;
static unsigned conn_count; /* watch mode has one more than asked for: the writer, which is the last */
static int epoll_fd;
static volatile sig_atomic_t interrupted;
static uint64_t hard_deadline;
static char last_trouble[512] = "no answer";

/* What a phase of the run sends and what it does with answers. */
static struct {
    bool (*next)(struct conn *, uint64_t now); /* appends one request, or says there is none now */
    void (*reply)(struct conn *, const struct pending *, int32_t err, uint64_t now);
    void (*event)(struct conn *, uint64_t now);
    unsigned window;
    bool connecting, closing;
} phase;

static struct {
    uint64_t disconnects, lost, refused, protocol_errors;
} totals;

static void push(struct conn *c, uint64_t since, unsigned op) {
    unsigned at = c->oldest + c->inflight;
    if (at >= c->capacity)
        at -= c->capacity;
    c->ring[at] = (struct pending){since, (uint8_t)op};
    c->inflight++;
}

static void lose(struct conn *c, const char *why) {
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->have = c->skip = 0;
    c->out.length = c->out_sent = 0;
    c->want_write = false;
    if (phase.connecting) {
        snprintf(last_trouble, sizeof last_trouble, "%s: %s", opt.servers[c->index % opt.server_count].text, why);
        totals.refused++;
        c->state = UNCONNECTED;
        c->retry_at = clock_ns() + RETRY_NS;
        return;
    }
    c->state = DEAD;
    if (!phase.closing) {
        fprintf(stderr, "zkload: connection %u to %s lost: %s\n", c->index,
                opt.servers[c->index % opt.server_count].text, why);
        totals.disconnects++;
        totals.lost += c->inflight;
    }
    c->inflight = 0;
}

static void interest(struct conn *c, bool write_too) {
    struct epoll_event e = {.events = EPOLLIN | (write_too ? EPOLLOUT : 0), .data.ptr = c};
    if (write_too != c->want_write && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e) == 0)
        c->want_write = write_too;
}

static void flush(struct conn *c, uint64_t now) {
    while (c->out_sent < c->out.length) {
        ssize_t n = send(c->fd, c->out.bytes + c->out_sent, c->out.length - c->out_sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN)
                interest(c, true);
            else if (errno != EINTR)
                lose(c, strerror(errno));
            if (errno != EINTR)
                return;
            continue;
        }
        c->out_sent += (size_t)n;
        c->last_send = now;
    }
    c->out.length = c->out_sent = 0;
    interest(c, false);
}

static void pump(struct conn *c, uint64_t now) {
    if (c->state != READY)
        return;
    if (phase.next != NULL) {
        unsigned window = phase.window < c->capacity ? phase.window : c->capacity;
        while (c->inflight < window && phase.next(c, now)) {
        }
    }
    if (c->out_sent < c->out.length && !c->want_write)
        flush(c, now);
}

static void pump_all(void) {
    uint64_t now = clock_ns();
    for (unsigned i = 0; i < conn_count; i++)
        pump(&conns[i], now);
}

static void open_session(struct conn *c) {
    size_t start = c->out.length;
    static const uint8_t no_password[16];
    put32(&c->out, 0);
    put32(&c->out, 0); /* protocolVersion */
    put64(&c->out, 0); /* lastZxidSeen */
    put32(&c->out, (int32_t)opt.session_timeout_ms);
    put64(&c->out, 0); /* sessionId */
    put_bytes(&c->out, no_password, sizeof no_password);
    *grow(&c->out, 1) = 0; /* readOnly */
    end(&c->out, start);
    c->state = HANDSHAKE;
    flush(c, clock_ns());
}

static void dial(struct conn *c) {
    const struct address *to = &opt.servers[c->index % opt.server_count];
    int one = 1;
    c->fd = socket(to->where.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die(1, "socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = CONNECTING;
    c->want_write = true;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e) < 0)
        die(1, "epoll_ctl: %s", strerror(errno));
    if (connect(c->fd, (const struct sockaddr *)&to->where, to->length) < 0 && errno != EINPROGRESS)
        lose(c, strerror(errno));
}

static void connected(struct conn *c) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0)
        lose(c, strerror(error));
    else
        open_session(c);
}

/* The 16 bytes after a frame's length; false when the connection is gone. */
static bool handle_frame(struct conn *c, const uint8_t *body, uint64_t now) {
    if (c->state == HANDSHAKE) { /* ConnectResponse: version, timeOut, sessionId */
        if ((int32_t)load32(body + 4) <= 0) {
            lose(c, "session refused");
            return false;
        }
        c->state = READY;
        c->next_xid = c->expected_xid = 1;
        return true;
    }
    int32_t xid = (int32_t)load32(body), err = (int32_t)load32(body + 12);
    if (xid == XID_PING)
        return true;
    if (xid == XID_EVENT) {
        if (phase.event != NULL)
            phase.event(c, now);
        return true;
    }
    if (c->inflight == 0 || xid != c->expected_xid) {
        char text[96];
        snprintf(text, sizeof text, "reply with xid %d where %d was due", xid, c->expected_xid);
        totals.protocol_errors++;
        lose(c, text);
        return false;
    }
    struct pending done = c->ring[c->oldest];
    c->oldest = c->oldest + 1 == c->capacity ? 0 : c->oldest + 1;
    c->inflight--;
    c->expected_xid = c->expected_xid == INT32_MAX ? 1 : c->expected_xid + 1;
    if (phase.reply != NULL)
        phase.reply(c, &done, err, now);
    return true;
}

static void parse(struct conn *c, const uint8_t *at, size_t left, uint64_t now) {
    while (left > 0) {
        if (c->skip > 0) {
            size_t taken = c->skip < left ? c->skip : left;
            c->skip -= (uint32_t)taken;
            at += taken;
            left -= taken;
            continue;
        }
        const uint8_t *frame = at;
        if (c->have == 0 && left >= HEAD_BYTES) {
            at += HEAD_BYTES;
            left -= HEAD_BYTES;
        } else {
            size_t missing = HEAD_BYTES - c->have, taken = missing < left ? missing : left;
            memcpy(c->head + c->have, at, taken);
            c->have += (unsigned)taken;
            at += taken;
            left -= taken;
            if (c->have < HEAD_BYTES)
                return;
            frame = c->head;
        }
        uint32_t length = load32(frame);
        if (length < HEAD_BYTES - 4 || length > MAX_FRAME_BYTES) {
            totals.protocol_errors++;
            lose(c, "impossible frame length");
            return;
        }
        c->have = 0;
        c->skip = length - (HEAD_BYTES - 4);
        if (!handle_frame(c, frame + 4, now))
            return;
    }
}

static void readable(struct conn *c) {
    static uint8_t bytes[1u << 18];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n > 0) {
        uint64_t now = clock_ns();
        parse(c, bytes, (size_t)n, now);
        pump(c, now);
    } else if (n == 0) {
        lose(c, "closed by the server");
    } else if (errno != EAGAIN && errno != EINTR) {
        lose(c, strerror(errno));
    }
}

/* ---- the event loop ---- */

static void housekeeping(uint64_t now) {
    for (unsigned i = 0; i < conn_count; i++) {
        struct conn *c = &conns[i];
        if (c->state == UNCONNECTED && phase.connecting && now >= c->retry_at) {
            dial(c);
        } else if (c->state == READY && now - c->last_send > opt.session_timeout_ms * NS_PER_MS / 3) {
            size_t start = c->out.length;
            begin(&c->out, XID_PING, CODE_PING);
            end(&c->out, start);
            c->last_send = now; /* also when the socket is full: what waits there counts as a sign of life */
            if (!c->want_write)
                flush(c, now);
        }
    }
}

/* Waits at most `ns`; finer than a millisecond where the kernel can. */
static int wait_events(struct epoll_event *events, int most, uint64_t ns) {
#ifdef SYS_epoll_pwait2
    static bool missing;
    if (!missing) {
        struct timespec limit = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
        int n = (int)syscall(SYS_epoll_pwait2, epoll_fd, events, most, &limit, NULL, 0);
        if (n >= 0 || errno != ENOSYS)
            return n;
        missing = true;
    }
#endif
    return epoll_wait(epoll_fd, events, most, (int)(ns / NS_PER_MS));
}

static void turn(uint64_t wait_ns) {
    static struct epoll_event events[512];
    static uint64_t housekeeping_at;
    int n = wait_events(events, 512, wait_ns);
    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;
        if (c->fd < 0)
            continue;
        if (c->state == CONNECTING) {
            if (events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
                connected(c);
            continue;
        }
        if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            readable(c);
        if (c->fd >= 0 && (events[i].events & EPOLLOUT))
            flush(c, clock_ns());
    }
    uint64_t now = clock_ns();
    if (now >= housekeeping_at) {
        housekeeping(now);
        housekeeping_at = now + 10 * NS_PER_MS;
    }
}

static unsigned count_state(enum state state) {
    unsigned found = 0;
    for (unsigned i = 0; i < conn_count; i++)
        found += conns[i].state == state;
    return found;
}

/* Turns until `done` or `deadline`; false at the deadline, when interrupted or when no connection is left. */
static bool run_until(bool (*done)(uint64_t now), uint64_t deadline) {
    if (deadline > hard_deadline)
        deadline = hard_deadline;
    for (;;) {
        uint64_t now = clock_ns();
        if (done(now))
            return true;
        if (now >= deadline || interrupted)
            return false;
        if (!phase.connecting && count_state(DEAD) == conn_count)
            return false;
        uint64_t wait = deadline - now;
        turn(wait < 50 * NS_PER_MS ? wait : 50 * NS_PER_MS);
    }
}

static bool all_ready(uint64_t now) {
    (void)now;
    return count_state(READY) == conn_count;
}

static void connect_all(void) {
    phase.connecting = true;
    for (unsigned i = 0; i < conn_count; i++)
        dial(&conns[i]);
    bool ok = run_until(all_ready, clock_ns() + opt.connect_timeout_s * NS_PER_S);
    phase.connecting = false;
    if (!ok)
        die(1, "%u of %u sessions after %u s; last trouble: %s (many sessions from one address need a larger "
               "maxClientCnxns at the server)",
            count_state(READY), conn_count, opt.connect_timeout_s, last_trouble);
}

/* ---- making and removing nodes, over one connection so that order is kept ---- */

static struct {
    uint64_t next, total, answered;
    int32_t first_error;
    struct conn *over;
    bool removing;
} nodes;

static uint64_t created; /* numbers given to create requests of the measured load */
static bool uses_keys, uses_children, uses_parents;

static int32_t take_xid(struct conn *c) {
    int32_t xid = c->next_xid;
    c->next_xid = xid == INT32_MAX ? 1 : xid + 1;
    return xid;
}

/* The i-th node of the fixed part: root, k, d, p, then parents, keys and children. */
static bool node_path(uint64_t i, char *path, size_t room, size_t *size) {
    static const char *const tops[] = {"", "/k", "/d", "/p"};
    unsigned parents = uses_parents ? opt.parents : 0, keys = uses_keys ? opt.keys : 0;
    unsigned children = uses_children ? opt.children : 0;
    *size = 0;
    if (i < 4) {
        snprintf(path, room, "%s%s", opt.root, tops[i]);
    } else if ((i -= 4) < parents) {
        snprintf(path, room, "%s/p/%04u", opt.root, (unsigned)i);
    } else if ((i -= parents) < keys) {
        snprintf(path, room, "%s/k/%07u", opt.root, (unsigned)i);
        *size = opt.size;
    } else if ((i -= keys) < children) {
        snprintf(path, room, "%s/d/%07u", opt.root, (unsigned)i);
    } else {
        return false;
    }
    return true;
}

static bool next_node(struct conn *c, uint64_t now) {
    char path[sizeof opt.root + 64];
    size_t size, start = c->out.length;
    if (c != nodes.over || nodes.next >= nodes.total)
        return false;
    uint64_t i = nodes.next++;
    if (nodes.removing) {
        if (i < created)
            snprintf(path, sizeof path, "%s/p/%04u/n%012llu", opt.root, (unsigned)(i % opt.parents),
                     (unsigned long long)i);
        else
            node_path(nodes.total - 1 - i, path, sizeof path, &size);
        begin(&c->out, take_xid(c), CODE_DELETE);
        put_text(&c->out, path);
        put32(&c->out, -1);
    } else {
        node_path(i, path, sizeof path, &size);
        begin(&c->out, take_xid(c), op_codes[OP_CREATE]);
        put_create(&c->out, path, payload, size, 0);
    }
    end(&c->out, start);
    push(c, now, OP_CREATE);
    return true;
}

static void node_answered(struct conn *c, const struct pending *done, int32_t err, uint64_t now) {
    (void)c, (void)done, (void)now;
    nodes.answered++;
    if (err != 0 && !(nodes.removing && err == ERR_NONODE) && nodes.first_error == 0)
        nodes.first_error = err;
}

static bool nodes_done(uint64_t now) {
    (void)now;
    return nodes.answered == nodes.total || nodes.over->state != READY;
}

static uint64_t fixed_nodes(void) {
    char path[sizeof opt.root + 64];
    size_t size;
    uint64_t n = 0;
    while (node_path(n, path, sizeof path, &size))
        n++;
    return n;
}

static void work_on_nodes(bool removing, uint64_t total, uint64_t limit_ns) {
    memset(&nodes, 0, sizeof nodes);
    nodes.removing = removing;
    nodes.total = total;
    for (unsigned i = 0; i < conn_count && nodes.over == NULL; i++)
        nodes.over = conns[i].state == READY ? &conns[i] : NULL;
    if (nodes.over == NULL)
        return;
    phase.next = next_node;
    phase.reply = node_answered;
    phase.window = SETUP_WINDOW;
    pump(nodes.over, clock_ns());
    run_until(nodes_done, clock_ns() + limit_ns);
    phase.next = NULL;
    phase.reply = NULL;
}

static void make_nodes(void) {
    work_on_nodes(false, fixed_nodes(), hard_deadline - clock_ns());
    if (nodes.first_error != 0)
        die(1, "cannot make the nodes below %s: error %d", opt.root, nodes.first_error);
    if (nodes.answered != nodes.total)
        die(1, "made only %llu of %llu nodes", (unsigned long long)nodes.answered, (unsigned long long)nodes.total);
}

/* Removes what the run made; false when something may be left. */
static bool remove_nodes(void) {
    work_on_nodes(true, (opt.ephemeral ? 0 : created) + fixed_nodes(), CLEANUP_NS);
    return nodes.over != NULL && nodes.answered == nodes.total && nodes.first_error == 0;
}

/* A sync on each connection: afterwards its server knows all nodes of the set-up. */
static bool next_todo(struct conn *c, uint64_t now) {
    if (!c->todo)
        return false;
    c->todo = false;
    size_t start = c->out.length;
    begin(&c->out, take_xid(c), op_codes[OP_SYNC]);
    put_text(&c->out, "/");
    end(&c->out, start);
    push(c, now, OP_SYNC);
    return true;
}

static bool idle(uint64_t now) {
    (void)now;
    for (unsigned i = 0; i < conn_count; i++)
        if (conns[i].inflight > 0)
            return false;
    return true;
}

static void sync_all(void) {
    for (unsigned i = 0; i < conn_count; i++)
        conns[i].todo = true;
    phase.next = next_todo;
    phase.window = 1;
    pump_all();
    if (!run_until(idle, clock_ns() + 30 * NS_PER_S))
        die(1, "the servers did not catch up with the set-up");
    phase.next = NULL;
}

/* ---- the measured load ---- */

static struct {
    uint64_t start, from, until; /* of the window that counts; until is 0 while a counted run goes on */
    uint64_t issued, answered, errors, last;
    struct { int32_t code; uint64_t count; } codes[16];
    struct histogram all, by_op[OP_COUNT];
    uint64_t rates[MAX_SECONDS];
    struct rusage self_from, self_until;
    double server_from[MAX_PIDS], server_until[MAX_PIDS];
    bool begun, stopping, finished;
    double rate_per_ns;
} load;

static uint8_t mix[1000];
static unsigned mix_length;

static void send_op(struct conn *c, unsigned op, uint64_t since) {
    const struct template *t = &templates[op];
    uint8_t *at = grow(&c->out, t->frame.length);
    memcpy(at, t->frame.bytes, t->frame.length);
    store32(at + 4, (uint32_t)take_xid(c));
    if (op == OP_CREATE) {
        write_digits(at + t->first, created % opt.parents, PARENT_DIGITS);
        write_digits(at + t->second, created, NODE_DIGITS);
        created++;
    } else if (t->first != 0) {
        write_digits(at + t->first, (next_random() >> 33) % opt.keys, KEY_DIGITS);
    }
    push(c, since, op);
}

static bool next_load(struct conn *c, uint64_t now) {
    if (load.stopping || (opt.count != 0 && load.issued >= opt.count))
        return false;
    uint64_t since = now;
    if (opt.rate > 0) {
        since = load.start + (uint64_t)((double)load.issued / load.rate_per_ns);
        if (since > now)
            return false;
    }
    send_op(c, mix_length == 1 ? mix[0] : mix[(next_random() >> 33) % mix_length], since);
    load.issued++;
    return true;
}

static void count_error(int32_t err) {
    load.errors++;
    for (unsigned i = 0; i < 16; i++) {
        if (load.codes[i].count == 0 || load.codes[i].code == err || i == 15) {
            load.codes[i].code = i == 15 && load.codes[i].count ? load.codes[i].code : err;
            load.codes[i].count++;
            return;
        }
    }
}

static void count_answer(uint64_t now, uint64_t took) {
    uint64_t second = (now - load.from) / NS_PER_S;
    load.answered++;
    record(&load.all, took);
    if (second < MAX_SECONDS)
        load.rates[second]++;
}

static void load_answered(struct conn *c, const struct pending *done, int32_t err, uint64_t now) {
    (void)c;
    if (now < load.from || load.finished)
        return;
    load.last = now;
    if (err != 0) {
        count_error(err);
        return;
    }
    count_answer(now, now - done->since);
    if (opt.mixed)
        record(&load.by_op[done->op], now - done->since);
}

/* User and system seconds of a process, all threads; -1 when it cannot be read. */
static double cpu_seconds(pid_t pid) {
    char name[64], text[2048];
    unsigned long user, system;
    snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(name, "r");
    if (file == NULL)
        return -1;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = 0;
    char *fields = strrchr(text, ')'); /* the name before it may hold anything */
    if (fields == NULL ||
        sscanf(fields + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return -1;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void read_cpu(struct rusage *self, double *servers) {
    getrusage(RUSAGE_SELF, self);
    for (unsigned i = 0; i < opt.pid_count; i++)
        servers[i] = cpu_seconds(opt.pids[i]);
}

/* Sends what has fallen due to connections with room, taking them in turn. */
static void send_due(uint64_t now) {
    static unsigned turn_of;
    for (unsigned tried = 0; tried < conn_count; tried++) {
        struct conn *c = &conns[turn_of];
        turn_of = turn_of + 1 == conn_count ? 0 : turn_of + 1;
        if (c->state != READY || c->inflight >= phase.window)
            continue;
        if (!next_load(c, now))
            return;
        tried = 0;
        if (!c->want_write)
            flush(c, now);
    }
}

static uint64_t next_wait(uint64_t now) {
    uint64_t wait = 20 * NS_PER_MS;
    if (!load.begun && load.from > now && load.from - now < wait)
        wait = load.from - now;
    if (load.until > now && load.until - now < wait)
        wait = load.until - now;
    if (opt.rate > 0) {
        uint64_t due = load.start + (uint64_t)((double)load.issued / load.rate_per_ns);
        uint64_t pause = due > now ? due - now : 0;
        if (pause < 20000)
            pause = 20000; /* requests that fall due within 20 us are sent together */
        if (pause < wait)
            wait = pause;
    }
    return wait;
}

static bool load_over(uint64_t now) {
    if (opt.count != 0)
        return load.answered + load.errors + totals.lost >= opt.count;
    return now >= load.until;
}

static void finish_load(uint64_t now) {
    read_cpu(&load.self_until, load.server_until);
    load.stopping = load.finished = true;
    if (opt.count != 0 && load.last != 0)
        now = load.last;
    load.until = now;
}

/* Runs the load; false when it did not get to its end. */
static bool run_load(void) {
    load.start = clock_ns();
    load.from = load.start + (opt.count ? 0 : (uint64_t)(opt.warmup_s * 1e9));
    load.until = opt.count ? 0 : load.from + (uint64_t)(opt.duration_s * 1e9);
    load.rate_per_ns = opt.rate / 1e9;
    phase.window = opt.mode == MODE_CLOSED ? 1 : opt.window;
    phase.reply = load_answered;
    phase.next = next_load;
    if (opt.rate == 0)
        pump_all();
    for (;;) {
        uint64_t now = clock_ns();
        if (!load.begun && now >= load.from) {
            load.begun = true;
            load.from = now;
            read_cpu(&load.self_from, load.server_from);
        }
        if (load.begun && load_over(now)) {
            finish_load(now);
            return true;
        }
        if (interrupted || now >= hard_deadline || count_state(DEAD) == conn_count) {
            if (load.begun)
                finish_load(now);
            return false;
        }
        if (opt.rate > 0)
            send_due(now);
        turn(next_wait(now));
    }
}

/* ---- watch fan-out ---- */

static struct {
    unsigned armed, told;
    bool set_done, failed;
    uint64_t fired, rounds, in_window;
    struct histogram last;
} fan;

static bool next_fan(struct conn *c, uint64_t now) {
    if (!c->todo)
        return false;
    c->todo = false;
    unsigned op = c->index == conn_count - 1 ? OP_SET : OP_GET;
    const struct template *t = &templates[op];
    uint8_t *at = grow(&c->out, t->frame.length);
    memcpy(at, t->frame.bytes, t->frame.length);
    store32(at + 4, (uint32_t)take_xid(c));
    if (op == OP_GET)
        at[t->frame.length - 1] = 1; /* with a watch */
    push(c, now, op);
    return true;
}

static void fan_answered(struct conn *c, const struct pending *done, int32_t err, uint64_t now) {
    (void)c, (void)now;
    if (err != 0) {
        count_error(err);
        fan.failed = true;
    } else if (done->op == OP_SET) {
        fan.set_done = true;
    } else {
        fan.armed++;
    }
}

static void fan_told(struct conn *c, uint64_t now) {
    (void)c;
    fan.told++;
    if (load.begun) {
        count_answer(now, now - fan.fired);
        if (fan.told == conn_count - 1)
            record(&fan.last, now - fan.fired);
    }
}

static bool fan_armed(uint64_t now) {
    (void)now;
    return fan.failed || fan.armed == conn_count - 1;
}

static bool fan_over(uint64_t now) {
    (void)now;
    return fan.failed || (fan.set_done && fan.told == conn_count - 1);
}

static bool fan_round(void) {
    fan.armed = fan.told = 0;
    fan.set_done = false;
    for (unsigned i = 0; i < conn_count - 1; i++)
        conns[i].todo = true;
    pump_all();
    if (!run_until(fan_armed, hard_deadline) || fan.failed)
        return false;
    struct conn *writer = &conns[conn_count - 1];
    writer->todo = true;
    fan.fired = clock_ns();
    pump(writer, fan.fired);
    return run_until(fan_over, hard_deadline) && !fan.failed && totals.disconnects == 0;
}

static bool run_watch(void) {
    phase.next = next_fan;
    phase.reply = fan_answered;
    phase.event = fan_told;
    phase.window = 1;
    load.start = clock_ns();
    uint64_t measure_at = load.start + (opt.count ? 0 : (uint64_t)(opt.warmup_s * 1e9));
    uint64_t stop_at = opt.count ? UINT64_MAX : measure_at + (uint64_t)(opt.duration_s * 1e9);
    bool ok = true;
    for (;;) {
        uint64_t now = clock_ns();
        if (!load.begun && now >= measure_at) {
            load.begun = true;
            load.from = now;
            read_cpu(&load.self_from, load.server_from);
        }
        if (now >= stop_at || (opt.count != 0 && fan.rounds >= opt.count))
            break;
        if (!fan_round()) {
            ok = false;
            break;
        }
        fan.rounds += load.begun;
    }
    if (load.begun) {
        read_cpu(&load.self_until, load.server_until);
        load.until = clock_ns();
    }
    phase.event = NULL;
    return ok && load.begun;
}

/* ---- the end ---- */

static bool nobody_open(uint64_t now) {
    (void)now;
    return count_state(READY) == 0;
}

static bool next_goodbye(struct conn *c, uint64_t now) {
    if (!c->todo)
        return false;
    c->todo = false;
    size_t start = c->out.length;
    begin(&c->out, take_xid(c), CODE_CLOSE);
    end(&c->out, start);
    push(c, now, OP_SYNC);
    return true;
}

static void goodbye_answered(struct conn *c, const struct pending *done, int32_t err, uint64_t now) {
    (void)done, (void)err, (void)now;
    close(c->fd);
    c->fd = -1;
    c->state = DEAD;
}

static void close_all(void) {
    phase.closing = true;
    phase.next = next_goodbye;
    phase.reply = goodbye_answered;
    phase.window = MAX_WINDOW + 1;
    for (unsigned i = 0; i < conn_count; i++)
        conns[i].todo = true;
    pump_all();
    uint64_t limit = clock_ns() + CLOSE_NS;
    while (!nobody_open(0) && clock_ns() < limit)
        turn(20 * NS_PER_MS);
}

static double rusage_seconds(const struct rusage *r) {
    return (double)(r->ru_utime.tv_sec + r->ru_stime.tv_sec) +
           (double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec) / 1e6;
}

static void print_result(bool complete, const char *left) {
    double elapsed = (double)(load.until - load.from) / 1e9;
    /* A last second that lacks a few milliseconds is whole enough; a shorter rest is left out. */
    unsigned whole = (unsigned)(elapsed + 0.01) < MAX_SECONDS ? (unsigned)(elapsed + 0.01) : MAX_SECONDS;
    printf("{\"complete\": %s, \"mode\": \"%s\", \"mix\": {", complete ? "true" : "false", mode_names[opt.mode]);
    for (unsigned op = 0, any = 0; op < OP_COUNT && opt.mode != MODE_WATCH; op++)
        if (opt.weights[op] > 0)
            printf("%s\"%s\": %u", any++ ? ", " : "", op_names[op], opt.weights[op]);
    printf("}, \"servers\": [");
    for (unsigned i = 0; i < opt.server_count; i++)
        printf("%s\"%s\"", i ? ", " : "", opt.servers[i].text);
    printf("], \"connections\": %u, \"window\": %u, \"payload_bytes\": %u, \"keys\": %u, \"rate_target\": %.1f",
           opt.connections, opt.mode == MODE_PIPELINED ? opt.window : 1, opt.size, opt.keys, opt.rate);
    printf(", \"elapsed_s\": %.3f, \"ops\": %llu, \"ops_per_s\": %.1f, \"errors\": %llu, \"error_codes\": {",
           elapsed, (unsigned long long)load.answered, elapsed > 0 ? (double)load.answered / elapsed : 0.0,
           (unsigned long long)load.errors);
    for (unsigned i = 0; i < 16 && load.codes[i].count > 0; i++)
        printf("%s\"%d\": %llu", i ? ", " : "", load.codes[i].code, (unsigned long long)load.codes[i].count);
    printf("}, \"disconnects\": %llu, \"lost_in_flight\": %llu, \"protocol_errors\": %llu, \"retried_connects\": %llu",
           (unsigned long long)totals.disconnects, (unsigned long long)totals.lost,
           (unsigned long long)totals.protocol_errors, (unsigned long long)totals.refused);
    printf(", \"latency_us\": ");
    print_histogram(&load.all);
    if (opt.mode == MODE_WATCH) {
        printf(", \"rounds\": %llu, \"last_event_us\": ", (unsigned long long)fan.rounds);
        print_histogram(&fan.last);
    }
    printf(", \"latency_by_op_us\": {");
    for (unsigned op = 0, any = 0; op < OP_COUNT; op++) {
        if (load.by_op[op].count > 0) {
            printf("%s\"%s\": ", any++ ? ", " : "", op_names[op]);
            print_histogram(&load.by_op[op]);
        }
    }
    printf("}, \"rates\": [");
    for (unsigned i = 0; i < whole; i++)
        printf("%s%llu", i ? ", " : "", (unsigned long long)load.rates[i]);
    printf("], \"self_cpu_s\": %.3f, \"server_cpu_s\": [",
           rusage_seconds(&load.self_until) - rusage_seconds(&load.self_from));
    for (unsigned i = 0; i < opt.pid_count; i++) {
        bool known = load.server_from[i] >= 0 && load.server_until[i] >= 0;
        printf(known ? "%s%.2f" : "%snull", i ? ", " : "", load.server_until[i] - load.server_from[i]);
    }
    printf("], \"left\": ");
    printf(left ? "\"%s\"}\n" : "null}\n", left);
    fflush(stdout);
}

/* ---- arguments ---- */

static unsigned number(const char *name, const char *text, unsigned least, unsigned most) {
    char *rest;
    errno = 0;
    unsigned long value = strtoul(text, &rest, 10);
    if (*text < '0' || *text > '9' || *rest != 0 || errno != 0 || value < least || value > most)
        die(2, "--%s must be a whole number from %u to %u, not '%s'", name, least, most, text);
    return (unsigned)value;
}

static double decimal(const char *name, const char *text, double least, double most) {
    char *rest;
    double value = strtod(text, &rest);
    if (rest == text || *rest != 0 || !(value >= least && value <= most))
        die(2, "--%s must be a number from %g to %g, not '%s'", name, least, most, text);
    return value;
}

static unsigned op_number(const char *text) {
    for (unsigned op = 0; op < OP_COUNT; op++)
        if (strcmp(text, op_names[op]) == 0)
            return op;
    die(2, "'%s' is no operation: get, set, create, exists, children, sync or mixed", text);
}

static void parse_mix(char *text) {
    char *rest = NULL;
    memset(opt.weights, 0, sizeof opt.weights);
    for (char *part = strtok_r(text, ",", &rest); part != NULL; part = strtok_r(NULL, ",", &rest)) {
        char *colon = strchr(part, ':');
        if (colon == NULL)
            die(2, "--mix wants op:weight,op:weight, not '%s'", part);
        *colon = 0;
        opt.weights[op_number(part)] = number("mix", colon + 1, 0, 100);
    }
}

static void resolve(struct address *a) {
    char host[256];
    const char *port = "2181";
    snprintf(host, sizeof host, "%s", a->text);
    char *name = host, *colon = strrchr(host, ':');
    if (host[0] == '[') {
        char *close_at = strchr(host, ']');
        if (close_at == NULL)
            die(2, "'%s' lacks a ]", a->text);
        *close_at = 0;
        name = host + 1;
        if (close_at[1] == ':')
            port = close_at + 2;
    } else if (colon != NULL) {
        *colon = 0;
        port = colon + 1;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(name, port, &hints, &found);
    if (error != 0)
        die(2, "cannot resolve '%s': %s", a->text, gai_strerror(error));
    memcpy(&a->where, found->ai_addr, found->ai_addrlen);
    a->length = found->ai_addrlen;
    freeaddrinfo(found);
}

static void parse_servers(char *text) {
    char *rest = NULL;
    for (char *part = strtok_r(text, ",", &rest); part != NULL; part = strtok_r(NULL, ",", &rest)) {
        if (opt.server_count == MAX_SERVERS)
            die(2, "more than %u servers", MAX_SERVERS);
        if (strlen(part) >= sizeof opt.servers[0].text || strpbrk(part, "\"\\"))
            die(2, "'%s' is no address", part);
        strcpy(opt.servers[opt.server_count].text, part);
        resolve(&opt.servers[opt.server_count++]);
    }
}

static void set_root(const char *text) {
    size_t length = strlen(text);
    if (text[0] != '/' || length < 2 || length > 200 || text[length - 1] == '/' || strpbrk(text, "\"\\"))
        die(2, "--root must be an absolute path of at most 200 bytes, not '%s'", text);
    strcpy(opt.root, text);
}

static void usage(FILE *to) {
    fputs("usage: zkload --servers host:port[,host:port...] [options]\n"
          "  --mode closed|pipelined|watch   one request in flight per connection, many, or watch fan-out (closed)\n"
          "  --op get|set|create|exists|children|sync|mixed                                          (get)\n"
          "  --mix op:weight,...             of --op mixed                                           (get:90,set:10)\n"
          "  --connections N                 sessions, spread over the servers; watchers in watch mode (50)\n"
          "  --window W                      requests in flight per connection when pipelined        (100)\n"
          "  --rate R                        requests per second that fall due; 0: as fast as answered (0)\n"
          "  --size B                        payload bytes of nodes, sets and creates                (100)\n"
          "  --keys K  --children C  --parents P   nodes read and set; children listed; parents of creates\n"
          "                                                                              (1000, 10, 64)\n"
          "  --warmup S  --duration S        seconds not counted, seconds counted                    (2, 10)\n"
          "  --count N                       count N requests (rounds in watch mode) instead of a duration\n"
          "  --ephemeral                     creates make ephemerals\n"
          "  --root PATH                     node to create and work below               (/zkload-<pid>-<time>)\n"
          "  --keep                          leave the nodes there\n"
          "  --session-timeout MS  --connect-timeout S                                   (30000, 15)\n"
          "  --deadline S                    give up after this long in all     (warmup + duration + 180)\n"
          "  --pid P                         also report CPU seconds of this process (repeatable)\n"
          "  --seed N                        of the choice of keys and operations                    (1)\n"
          "  --histogram                     read nanoseconds from stdin, print their summary\n", to);
}

static void choose_op(char *text) {
    opt.mixed = strcmp(text, "mixed") == 0;
    if (!opt.mixed) {
        memset(opt.weights, 0, sizeof opt.weights);
        opt.weights[op_number(text)] = 1;
    }
}

static enum mode choose_mode(const char *text) {
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(text, mode_names[i]) == 0)
            return (enum mode)i;
    die(2, "--mode must be closed, pipelined or watch, not '%s'", text);
}

static void set_option(int which, char *text) {
    switch (which) {
    case 's': parse_servers(text); break;
    case 'm': opt.mode = choose_mode(text); break;
    case 'n': opt.connections = number("connections", text, 1, MAX_CONNECTIONS); break;
    case 'w': opt.window = number("window", text, 1, MAX_WINDOW); break;
    case 'r': opt.rate = decimal("rate", text, 0, 1e8); break;
    case 'b': opt.size = number("size", text, 0, MAX_PAYLOAD_BYTES); break;
    case 'k': opt.keys = number("keys", text, 1, 9999999); break;
    case 'c': opt.children = number("children", text, 1, 9999999); break;
    case 'p': opt.parents = number("parents", text, 1, 9999); break;
    case 'W': opt.warmup_s = decimal("warmup", text, 0, 3600); break;
    case 'D': opt.duration_s = decimal("duration", text, 0.01, MAX_SECONDS); break;
    case 'C': opt.count = number("count", text, 1, UINT32_MAX); break;
    case 'e': opt.ephemeral = true; break;
    case 'R': set_root(text); break;
    case 'K': opt.keep = true; break;
    case 't': opt.session_timeout_ms = number("session-timeout", text, 1, INT32_MAX); break;
    case 'T': opt.connect_timeout_s = number("connect-timeout", text, 1, 3600); break;
    case 'L': opt.deadline_s = decimal("deadline", text, 0.1, 86400); break;
    case 'S': opt.seed = number("seed", text, 0, UINT32_MAX); break;
    case 'H': opt.dump = true; break;
    case 'P':
        if (opt.pid_count == MAX_PIDS)
            die(2, "more than %u processes", MAX_PIDS);
        opt.pids[opt.pid_count++] = (pid_t)number("pid", text, 1, INT32_MAX);
        break;
    case 'h': usage(stdout); exit(0);
    default: usage(stderr); exit(2);
    }
}

static void parse_arguments(int argc, char **argv) {
    static const struct option names[] = {
        {"servers", 1, NULL, 's'}, {"mode", 1, NULL, 'm'}, {"op", 1, NULL, 'o'}, {"mix", 1, NULL, 'M'},
        {"connections", 1, NULL, 'n'}, {"window", 1, NULL, 'w'}, {"rate", 1, NULL, 'r'}, {"size", 1, NULL, 'b'},
        {"keys", 1, NULL, 'k'}, {"children", 1, NULL, 'c'}, {"parents", 1, NULL, 'p'}, {"warmup", 1, NULL, 'W'},
        {"duration", 1, NULL, 'D'}, {"count", 1, NULL, 'C'}, {"ephemeral", 0, NULL, 'e'}, {"root", 1, NULL, 'R'},
        {"keep", 0, NULL, 'K'}, {"session-timeout", 1, NULL, 't'}, {"connect-timeout", 1, NULL, 'T'},
        {"deadline", 1, NULL, 'L'}, {"pid", 1, NULL, 'P'}, {"seed", 1, NULL, 'S'}, {"histogram", 0, NULL, 'H'},
        {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0},
    };
    char get[] = "get", usual_mix[] = "get:90,set:10", *op = get, *mix_text = usual_mix;
    int which;
    while ((which = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (which == 'o')
            op = optarg;
        else if (which == 'M')
            mix_text = optarg;
        else
            set_option(which, optarg);
    }
    if (optind < argc)
        die(2, "'%s' is no option", argv[optind]);
    if (opt.dump)
        return;
    if (opt.server_count == 0)
        die(2, "--servers is missing");
    choose_op(op);
    if (opt.mixed)
        parse_mix(mix_text);
    for (unsigned i = 0; i < OP_COUNT; i++)
        for (unsigned weight = 0; weight < opt.weights[i]; weight++)
            mix[mix_length++] = (uint8_t)i;
    if (mix_length == 0)
        die(2, "--mix has no weight above 0");
    if (opt.rate > 0 && opt.mode == MODE_WATCH)
        die(2, "--rate and --mode watch do not go together");
    if (opt.mode == MODE_WATCH)
        opt.keys = 1; /* all watch the same node */
    if (opt.root[0] == 0)
        snprintf(opt.root, sizeof opt.root, "/zkload-%d-%llx", (int)getpid(), (unsigned long long)clock_ns());
    if (opt.deadline_s == 0)
        opt.deadline_s = opt.warmup_s + opt.duration_s + (opt.count ? 3600 : 180);
}

static void allocate(void) {
    struct rlimit limit;
    conn_count = opt.connections + (opt.mode == MODE_WATCH);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < conn_count + 16)
        die(1, "%u connections need more open files than the limit of %llu", conn_count,
            (unsigned long long)limit.rlim_cur);
    conns = must(calloc(conn_count, sizeof *conns));
    unsigned window = opt.mode == MODE_PIPELINED || opt.rate > 0 ? opt.window : 1;
    for (unsigned i = 0; i < conn_count; i++) {
        /* Any connection may have to make or remove nodes if the ones before it die. */
        conns[i].capacity = window + SETUP_WINDOW;
        conns[i].ring = must(calloc(conns[i].capacity, sizeof *conns[i].ring));
        conns[i].fd = -1;
        conns[i].index = i;
    }
    payload = must(malloc(opt.size + 1));
    for (unsigned i = 0; i < opt.size; i++)
        payload[i] = (uint8_t)(next_random() >> 40);
    uses_keys = opt.weights[OP_GET] || opt.weights[OP_SET] || opt.weights[OP_EXISTS] || opt.weights[OP_SYNC];
    uses_keys = uses_keys || opt.mode == MODE_WATCH;
    uses_children = opt.weights[OP_CHILDREN] > 0;
    uses_parents = opt.weights[OP_CREATE] > 0;
}

static int summarise_stdin(void) {
    static struct histogram h;
    unsigned long long value;
    while (scanf("%llu", &value) == 1)
        record(&h, value);
    print_histogram(&h);
    putchar('\n');
    return 0;
}

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

int main(int argc, char **argv) {
    parse_arguments(argc, argv);
    if (opt.dump)
        return summarise_stdin();
    random_state = (opt.seed + 1) * 0x9E3779B97F4A7C15ull;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    allocate();
    make_templates();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die(1, "epoll_create1: %s", strerror(errno));
    hard_deadline = clock_ns() + (uint64_t)(opt.deadline_s * 1e9);
    connect_all();
    make_nodes();
    sync_all();
    bool complete = opt.mode == MODE_WATCH ? run_watch() : run_load();
    interrupted = 0;
    hard_deadline = clock_ns() + 30 * NS_PER_S + (opt.keep ? 0 : CLEANUP_NS);
    phase.next = NULL;
    phase.reply = NULL;
    run_until(idle, clock_ns() + 30 * NS_PER_S);
    bool removed = !opt.keep && remove_nodes();
    close_all();
    print_result(complete, removed ? NULL : opt.root);
    return complete ? 0 : 1;
}
