# lines: 3
FROM alpine:3
RUN apk --no-cache upgrade
