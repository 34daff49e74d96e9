# lines: 3
FROM scratch AS a
COPY --from=busybox:1.36 /bin/sh /sh
COPY --from=0 /x /x
COPY --from=a /x /x
