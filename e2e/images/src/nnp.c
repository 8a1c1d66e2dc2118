/* Installed setuid root: shows whether a process could gain privileges. critest reads this text. */
#include <stdio.h>
#include <unistd.h>

int main(void) {
    printf("Effective uid: %d\n", (int)geteuid());
    return 0;
}
