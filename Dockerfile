# The action and the command line as an image. Its context is the folder that `make image` makes, not this one:
#   make image && docker build --file Dockerfile --tag imip-secrets build/image
#
# The base is Debian with Python, by digest; Dependabot renews it. Any Debian with the Python that build/image/PYTHON
# names will do: `make image-test` gives one that is made of Debian's packages alone.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE_IMAGE} AS program
COPY . /opt/imip-secrets
RUN ["python3", "-I", "-S", "-B", "/opt/imip-secrets/finish.py"]

# One layer, without what the last step took away.
FROM scratch
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="imip-secrets" \
      org.opencontainers.image.description="Secrets from AWS Secrets Manager, Vault and Azure Key Vault, through OIDC" \
      org.opencontainers.image.source="https://github.com/org/imip-secrets-action" \
      org.opencontainers.image.documentation="https://github.com/org/imip-secrets-action/blob/main/docs/image.md" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=program / /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8
# As root: a job's files belong to the runner's user, whoever that is. At other places: --user 65532:65532 --read-only.
ENTRYPOINT ["/opt/imip-secrets/python", "-I", "-S", "-X", "utf8", "/opt/imip-secrets/launch.py"]
CMD ["--help"]
