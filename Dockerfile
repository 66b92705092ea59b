# Two images from one file: `web` (also worker and beat) carries no torch, `trainer` does.
#
#   docker build --target web -t prefloop-web .
#   docker build --target trainer -t prefloop-trainer .

FROM python:3.11.14-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PREFLOOP_ENV=production \
    PREFLOOP_VAR=/var/lib/prefloop
RUN useradd --uid 10001 --home-dir /var/lib/prefloop --create-home prefloop
WORKDIR /srv/prefloop
COPY pyproject.toml constraints.txt README.md ./
RUN pip install -c constraints.txt .

FROM base AS code
COPY manage.py ./
COPY annotation annotation
COPY api api
COPY config config
COPY demo demo
COPY models_registry models_registry
COPY static static
COPY templates templates
COPY locale locale
COPY training training
# The names with a hash that production serves. The values only satisfy the settings; none is kept.
RUN SECRET_KEY=unused ALLOWED_HOSTS=unused python manage.py collectstatic --noinput

FROM code AS web
USER prefloop
VOLUME /var/lib/prefloop
EXPOSE 8000
CMD ["python", "-m", "gunicorn", "config.wsgi", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "4", \
     "--no-control-socket", "--access-logfile", "-"]

FROM base AS trainer-base
RUN pip install -c constraints.txt ".[train]"

FROM trainer-base AS trainer
COPY --from=code /srv/prefloop /srv/prefloop
USER prefloop
VOLUME /var/lib/prefloop
CMD ["python", "-m", "celery", "-A", "config", "worker", "-Q", "train", "-c", "1", "--loglevel", "INFO"]
