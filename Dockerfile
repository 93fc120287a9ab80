# The image of Weir: one binary on a base without a shell. docs/image.md says how to build, verify and run it.
#
#   docker buildx build --tag weir:0.1.0 .

FROM docker.io/library/rust:1.95-slim-bookworm AS build
WORKDIR /build
# No path of the builder ends up in the binary, and no build depends on what another left behind.
ENV CARGO_INCREMENTAL=0 \
    RUSTFLAGS="--remap-path-prefix=/usr/local/cargo/registry/src=/registry --remap-path-prefix=/build=/weir"
# A profile of Cargo.toml. `dist` is optimised as a whole, which takes minutes; `dev` is quick.
ARG PROFILE=dist

# The dependencies are a layer of their own: built for an empty program, they stay while only src changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' >src/main.rs \
    && : >src/lib.rs \
    && cargo build --locked --profile "$PROFILE" --bin weir

COPY src src
# What is copied keeps its time of change, which may lie before that of the empty program. No argument may be declared
# between the two builds: SOURCE_DATE_EPOCH, say, would have ring, and what needs it, built once more.
RUN touch src/main.rs src/lib.rs \
    && cargo build --locked --profile "$PROFILE" --bin weir
# Cargo keeps the profile `dev` in target/debug.
ARG SOURCE_DATE_EPOCH=0
RUN install -D "target/$(test "$PROFILE" = dev && echo debug || echo "$PROFILE")/weir" /out/weir \
    && touch --date="@$SOURCE_DATE_EPOCH" /out/weir

FROM gcr.io/distroless/cc-debian12:nonroot
COPY LICENSE THIRD-PARTY-LICENSES.txt /usr/share/doc/weir/
COPY --from=build /out/weir /usr/local/bin/weir
USER 65532:65532
EXPOSE 8080
# The process is PID 1 and handles its signals itself: it drains, and a second one ends it at once.
STOPSIGNAL SIGTERM
# Asks where WEIR_HTTP_ADDRESS says, else port 8080. Fails only for what a restart cures; Kubernetes and ECS have
# checks of their own.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/weir", "health"]
ENTRYPOINT ["/usr/local/bin/weir"]
CMD ["run"]

# Last, so that a new commit makes no layer anew.
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="weir" \
      org.opencontainers.image.description="Leases the shards of DynamoDB Streams and Kinesis and forwards every record to CloudWatch Logs" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
