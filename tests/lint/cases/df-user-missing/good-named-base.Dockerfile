FROM gcr.io/distroless/static:nonroot AS run
FROM run
COPY a /a
