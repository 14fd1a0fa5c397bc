/* syncs.so, for LD_PRELOAD: counts fsync() and fdatasync(), and makes a flush as slow as that of a memory card.
 *
 * $BENCH_SYNCS names a file of one page that all processes of a peer share.  The device it stands for flushes one thing at a
 * time, for DELAY ns.  Whoever asks while a flush is under way waits for the next one, together with all who ask meanwhile:
 * as file systems do it, so whoever groups what it writes gains here what it gains on a real card.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static struct device {
    long long delay, calls, flushes;   /* bench/running.py reads and writes these three */
    long long ends, then;              /* when the flush under way ends; when the one after it does, 0 if nobody waits for it */
    pthread_mutex_t door;
    int ready;
} *device;

__attribute__((constructor)) static void open_device(void) {
    const char *path = getenv("BENCH_SYNCS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED) return;
    device = page;
    if (device->ready) return;         /* the first process of a peer starts alone */
    pthread_mutexattr_t shared;
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&device->door, &shared);
    device->ready = 1;
}

static void flush(void) {
    struct timespec t;
    long long mine;
    if (!device) return;
    if (pthread_mutex_lock(&device->door)) pthread_mutex_consistent(&device->door);
    clock_gettime(CLOCK_MONOTONIC, &t);
    long long now = t.tv_sec * 1000000000ll + t.tv_nsec;
    device->calls++;
    if (device->then && now >= device->ends) device->ends = device->then, device->then = 0;
    if (now >= device->ends) {                          /* idle: begin at once */
        mine = device->ends = now + device->delay;
        device->flushes++;
    } else {                                            /* busy: the next one, with all who wait */
        if (!device->then) device->then = device->ends + device->delay, device->flushes++;
        mine = device->then;
    }
    pthread_mutex_unlock(&device->door);
    if (!device->delay) return;
    t = (struct timespec){mine / 1000000000ll, mine % 1000000000ll};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL));
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    int result = real(fd);
    flush();
    return result;
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    flush();
    return result;
}
