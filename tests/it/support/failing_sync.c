/* Preloaded into a server: a file's nth fdatasync or fsync fails with EIO.

   FAIL_SYNC names a control file. While it holds a number n > 0, every sync of a file whose path holds the text in
   FAIL_SYNC_OF counts it down; the one that brings it to 0 fails, without having synced anything. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static int must_fail(int fd) {
    const char *control = getenv("FAIL_SYNC"), *of = getenv("FAIL_SYNC_OF");
    char link[64], path[4096];
    int n = 0;
    if (!control || !of) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, of)) return 0;
    pthread_mutex_lock(&turn);
    FILE *file = fopen(control, "r+");
    if (file) {
        if (fscanf(file, "%d", &n) == 1 && n > 0) {
            rewind(file);
            fprintf(file, "%d\n", --n);
        } else {
            n = -1;
        }
        fclose(file);
    } else {
        n = -1;
    }
    pthread_mutex_unlock(&turn);
    return n == 0;
}

#define SYNC(name)                                                     \
    int name(int fd) {                                                 \
        static int (*real)(int);                                       \
        if (must_fail(fd)) { errno = EIO; return -1; }                 \
        if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, #name);       \
        return real(fd);                                               \
    }

SYNC(fdatasync)
SYNC(fsync)
