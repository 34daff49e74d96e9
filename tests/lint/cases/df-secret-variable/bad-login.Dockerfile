# lines: 3
FROM debian:12
ENV DATABASE_URL=postgres://app:s3cret@db/app
