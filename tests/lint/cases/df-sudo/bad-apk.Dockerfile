# lines: 3
FROM alpine:3
RUN apk add --no-cache doas bash
