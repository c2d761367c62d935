/*
 * feedload: many subscribers of a feed's HTTP door, made so cheaply that the door is what gets measured.
 *
 *   feedload HOST PORT COUNT TARGET [SAMPLED]
 *
 * Opens COUNT connections, each of which asks for TARGET by SSE ("%u" in it becomes the subscriber's number) and
 * waits until all have their first event.  Then it prints "ready", and from then on, five times a second,
 * "events N bytes B"; when its standard input ends, one JSON object, and it exits.  Counted are events that are
 * txns ("data: {"zxid...").  Of the first SAMPLED subscribers the delay of events whose data is "T<ns>T" is
 * taken, where <ns> is CLOCK_MONOTONIC when it was sent.
 *
 * One thread, plain epoll.  Exit: 0 measured, 1 not, 2 bad arguments.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES (1u << 18)
#define CARRY_BYTES 48u
#define CONNECTING_MAX 400u
#define DELAYS_MAX 4000000u
#define TELL_NS 200000000ull

static const char TXN_MARK[] = "data: {\"zxid";
static const char DATA_MARK[] = "\"data\":\"T";

struct subscriber {
    int fd;
    uint32_t carried;
    uint8_t asked, greeted;
    char carry[CARRY_BYTES];
};

static struct subscriber *all;
static unsigned count, greeted, opening, opened, sampled, lost;
static uint64_t events, bytes, first_ns, last_ns;
static uint64_t *delays;
static size_t delay_count;
static char buffer[BUFFER_BYTES + CARRY_BYTES];

static uint64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000ull + (uint64_t)at.tv_nsec;
}

static void die(int code, const char *what) {
    fprintf(stderr, "feedload: %s: %s\n", what, strerror(errno));
    exit(code);
}

static void open_one(int epoll, const struct sockaddr_in *to) {
    struct subscriber *one = &all[opened];
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (one->fd < 0)
        die(1, "socket");
    if (connect(one->fd, (const struct sockaddr *)to, sizeof *to) < 0 && errno != EINPROGRESS)
        die(1, "connect");
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u32 = opened};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, one->fd, &event) < 0)
        die(1, "epoll_ctl");
    opened++;
    opening++;
}

static void ask(int epoll, unsigned number, const char *target) {
    struct subscriber *one = &all[number];
    char path[1024], request[1400];
    snprintf(path, sizeof path, target, number);
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: door\r\n\r\n", path);
    if (write(one->fd, request, (size_t)size) != size)
        die(1, "the door does not answer");
    one->asked = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = number};
    epoll_ctl(epoll, EPOLL_CTL_MOD, one->fd, &event);
}

static void look(const struct subscriber *one, const char *text, size_t size, uint64_t at) {
    const char *place = text;
    const char *end = text + size;
    /* A mark that ends in the carry was counted with it: only those that end behind it count. */
    while ((place = memmem(place, (size_t)(end - place), TXN_MARK, sizeof TXN_MARK - 1)) != NULL) {
        place += sizeof TXN_MARK - 1;
        if (place > text + one->carried)
            events++;
    }
    if ((unsigned)(one - all) >= sampled)
        return;
    place = text;
    while ((place = memmem(place, (size_t)(end - place), DATA_MARK, sizeof DATA_MARK - 1)) != NULL) {
        place += sizeof DATA_MARK - 1;
        char *stop = NULL;
        const uint64_t sent = strtoull(place, &stop, 10);
        if (stop != NULL && stop < end && *stop == 'T' && stop >= text + one->carried && delay_count < DELAYS_MAX)
            delays[delay_count++] = at - sent;
    }
}

static void take(struct subscriber *one) {
    memcpy(buffer, one->carry, one->carried);
    const ssize_t got = read(one->fd, buffer + one->carried, BUFFER_BYTES);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        close(one->fd);
        one->fd = -1;
        lost++;
        return;
    }
    const uint64_t at = now_ns();
    const uint64_t before = events;
    const size_t size = one->carried + (size_t)got;
    look(one, buffer, size, at);
    bytes += (uint64_t)got;
    if (events != before) {
        last_ns = at;
        if (first_ns == 0)
            first_ns = at;
    }
    if (!one->greeted && memmem(buffer, size, "event: bookmark", 15) != NULL) {
        one->greeted = 1;
        greeted++;
        opening--;
    }
    one->carried = size < CARRY_BYTES ? (uint32_t)size : CARRY_BYTES;
    memcpy(one->carry, buffer + size - one->carried, one->carried);
}

static int by_size(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double us(double share) {
    if (delay_count == 0)
        return 0;
    size_t place = (size_t)((double)delay_count * share);
    return (double)delays[place < delay_count ? place : delay_count - 1] / 1000;
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "feedload HOST PORT COUNT TARGET [SAMPLED]\n");
        return 2;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
        return 2;
    count = (unsigned)atoi(argv[3]);
    sampled = argc > 5 ? (unsigned)atoi(argv[5]) : 1;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    all = calloc(count, sizeof *all);
    delays = calloc(DELAYS_MAX, sizeof *delays);
    if (all == NULL || delays == NULL)
        die(1, "memory");
    const int epoll = epoll_create1(0);
    struct epoll_event input = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &input) < 0)
        die(1, "epoll");
    struct epoll_event found[512];
    uint64_t told = now_ns();
    int is_ready = 0, is_over = 0;
    while (!is_over) {
        while (opened < count && opening < CONNECTING_MAX)
            open_one(epoll, &to);
        const int some = epoll_wait(epoll, found, 512, 100);
        for (int i = 0; i < some; i++) {
            if (found[i].data.u32 == UINT32_MAX) {
                char drop[64];
                is_over = is_over || read(0, drop, sizeof drop) <= 0;
                continue;
            }
            struct subscriber *one = &all[found[i].data.u32];
            if (one->fd >= 0 && !one->asked && (found[i].events & EPOLLOUT))
                ask(epoll, found[i].data.u32, argv[4]);
            else if (one->fd >= 0 && (found[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
                take(one);
        }
        if (!is_ready && greeted == count) {
            is_ready = 1;
            events = bytes = first_ns = 0;
            printf("ready\n");
            fflush(stdout);
        }
        if (is_ready && now_ns() - told > TELL_NS) {
            told = now_ns();
            printf("events %llu bytes %llu\n", (unsigned long long)events, (unsigned long long)bytes);
            fflush(stdout);
        }
    }
    qsort(delays, delay_count, sizeof *delays, by_size);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"subscribers\": %u, \"lost\": %u, \"events\": %llu, \"bytes\": %llu, \"seconds\": %.6f, "
           "\"delays\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"cpu_s\": %.3f}\n",
           count, lost, (unsigned long long)events, (unsigned long long)bytes,
           (double)(last_ns - first_ns) / 1e9, delay_count, us(0.5), us(0.99), us(1.0),
           (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return 0;
}
