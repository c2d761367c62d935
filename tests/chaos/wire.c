/* A bad wire between two network interfaces: every frame that comes out of one goes into the other, later, twice,
 * out of order, or never.  What netem does in kernels that have it.
 *
 *   wire plain IF                                      has the kernel cut and sum its packets before they leave IF
 *   wire join A B DELAY_US JITTER_US LOSS DUPLICATE SEED
 *
 * LOSS and DUPLICATE are of a million frames.  Frames are what they would be on a real wire only where the
 * interface before a socket here has no offloads: hence plain. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_MAX = 2048, QUEUE_MAX = 8192 };

struct frame {
    int64_t due_us;
    int target;
    ssize_t size;
    unsigned char bytes[FRAME_MAX];
};

static struct frame *waiting[QUEUE_MAX];
static int count;
static uint64_t seed;

static int fail(const char *what) {
    perror(what);
    return 1;
}

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static uint64_t draw(uint64_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return below == 0 ? 0 : seed % below;
}

static int plain(const char *name) {
    static const uint32_t offloads[] = {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SUFO, ETHTOOL_STXCSUM};
    int door = socket(AF_INET, SOCK_DGRAM, 0);
    if (door < 0)
        return fail("socket");
    for (size_t i = 0; i < sizeof offloads / sizeof *offloads; i++) {
        struct ethtool_value value = {offloads[i], 0};
        struct ifreq request = {0};
        strncpy(request.ifr_name, name, IFNAMSIZ - 1);
        request.ifr_data = (char *)&value;
        /* Not every interface knows every offload. */
        if (ioctl(door, SIOCETHTOOL, &request) != 0 && errno != EOPNOTSUPP)
            return fail(name);
    }
    return 0;
}

static int open_interface(const char *name) {
    int index = (int)if_nametoindex(name);
    int door = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
    struct sockaddr_ll place = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index};
    struct packet_mreq all = {.mr_ifindex = index, .mr_type = PACKET_MR_PROMISC};
    int bytes = 8 << 20;
    if (index == 0 || door < 0 || bind(door, (struct sockaddr *)&place, sizeof place) != 0)
        return -1;
    setsockopt(door, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    if (setsockopt(door, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0)
        return -1;
    return door;
}

static void keep(const struct frame *seen, int64_t due_us) {
    if (count == QUEUE_MAX)
        return; /* as a router whose queue is full */
    struct frame *kept = malloc(sizeof *kept);
    if (kept == NULL)
        return;
    *kept = *seen;
    kept->due_us = due_us;
    int place = count++;
    for (; place > 0 && waiting[place - 1]->due_us > due_us; place--)
        waiting[place] = waiting[place - 1];
    waiting[place] = kept;
}

static void send_due(int64_t now) {
    int sent = 0;
    for (; sent < count && waiting[sent]->due_us <= now; sent++) {
        (void)!write(waiting[sent]->target, waiting[sent]->bytes, (size_t)waiting[sent]->size);
        free(waiting[sent]);
    }
    count -= sent;
    memmove(waiting, waiting + sent, (size_t)count * sizeof *waiting);
}

static int join(char **words) {
    int ends[2] = {open_interface(words[0]), open_interface(words[1])};
    int64_t delay_us = atoll(words[2]);
    uint64_t jitter_us = (uint64_t)atoll(words[3]), loss = (uint64_t)atoll(words[4]);
    uint64_t duplicate = (uint64_t)atoll(words[5]);
    seed = (uint64_t)atoll(words[6]) * 2654435761u + 88172645463325252u;
    if (ends[0] < 0 || ends[1] < 0)
        return fail("interface");
    puts("joined");
    fflush(stdout);
    for (;;) {
        struct pollfd ready[2] = {{ends[0], POLLIN, 0}, {ends[1], POLLIN, 0}};
        int64_t wait_us = count == 0 ? 1000000 : waiting[0]->due_us - now_us();
        struct timespec wait = {0, wait_us < 0 ? 0 : (wait_us > 900000 ? 900000 : wait_us) * 1000};
        if (ppoll(ready, 2, &wait, NULL) < 0 && errno != EINTR)
            return fail("ppoll");
        int64_t now = now_us();
        for (int side = 0; side < 2; side++) {
            struct frame seen;
            struct sockaddr_ll from;
            socklen_t length = sizeof from;
            seen.target = ends[1 - side];
            while ((seen.size = recvfrom(ends[side], seen.bytes, FRAME_MAX, 0, (struct sockaddr *)&from, &length)) > 0) {
                length = sizeof from;
                if (from.sll_pkttype == PACKET_OUTGOING || draw(1000000) < loss)
                    continue;
                keep(&seen, now + delay_us + (int64_t)draw(jitter_us));
                if (draw(1000000) < duplicate)
                    keep(&seen, now + delay_us + (int64_t)draw(jitter_us));
            }
        }
        send_due(now_us());
    }
}

int main(int words, char **word) {
    if (words == 3 && strcmp(word[1], "plain") == 0)
        return plain(word[2]);
    if (words == 9 && strcmp(word[1], "join") == 0)
        return join(word + 2);
    fprintf(stderr, "see the source\n");
    return 2;
}
