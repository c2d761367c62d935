/* What a test may do to a server's disk and clock while it runs: preloaded into the server, it reads a shared
 * page.  fsync and fdatasync take longer, or fail; the wall clock is off.  While they do, the kernel's own
 * asynchronous fdatasync is not to be had, so that all syncs come by here.  Nothing else is touched: the
 * monotonic clock runs on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct page {
    volatile int64_t sync_delay_us;
    volatile int64_t wall_offset_ms;
    volatile int64_t sync_errno;
    volatile int64_t syncs;
};

static struct page *shared;

__attribute__((constructor)) static void attach(void) {
    const char *path = getenv("ZABRA_SHIM");
    if (path == NULL)
        return;
    int file = open(path, O_RDWR);
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED)
        shared = page;
}

static long real_syscall(long number, long a, long b, long c, long d, long e, long f) {
    static long (*next)(long, ...);
    if (next == NULL)
        next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return next(number, a, b, c, d, e, f);
}

long syscall(long number, ...) {
    va_list rest;
    long a[6];
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_io_submit && shared != NULL && (shared->sync_delay_us > 0 || shared->sync_errno != 0)) {
        errno = ENOSYS;
        return -1;
    }
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int slow_sync(long number, int file) {
    if (shared != NULL) {
        int64_t delay = shared->sync_delay_us;
        shared->syncs++;
        if (delay > 0) {
            struct timespec wait = {delay / 1000000, (delay % 1000000) * 1000};
            while (nanosleep(&wait, &wait) != 0 && errno == EINTR)
                ;
        }
        if (shared->sync_errno != 0) {
            errno = (int)shared->sync_errno;
            return -1;
        }
    }
    return (int)syscall(number, file);
}

int fsync(int file) { return slow_sync(SYS_fsync, file); }

int fdatasync(int file) { return slow_sync(SYS_fdatasync, file); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && shared != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t offset = shared->wall_offset_ms;
        int64_t nanos = now->tv_nsec + (offset % 1000) * 1000000;
        now->tv_sec += offset / 1000 + (nanos < 0 ? -1 : nanos / 1000000000);
        now->tv_nsec = nanos < 0 ? nanos + 1000000000 : nanos % 1000000000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0)
        return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (where != NULL)
        *where = precise.tv_sec;
    return precise.tv_sec;
}
