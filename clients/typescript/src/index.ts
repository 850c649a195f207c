/**
 * A typed client of the durable-billing API: every route by its path, and helpers for what a console
 * shows. Types come from the API's own OpenAPI document (`schema.ts`).
 */

import createFetchClient, { type Client, type ClientOptions } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, operations, paths } from "./schema.js";

type Schemas = components["schemas"];

/** The body of every refusal: decide by `code`. */
export type Problem = Schemas["ProblemBody"];
/** The 202 of a write that is stored and whose result could not be read: send it again with its key. */
export type Accepted = Schemas["AcceptedAnswer"];
export type Usage = Schemas["UsageAnswer"];
export type InvoicePage = Schemas["InvoicePage"];
type InvoiceQuery = NonNullable<paths["/api/v1/billing/invoices"]["get"]["parameters"]["query"]>;
export type InvoiceStatus = NonNullable<InvoiceQuery["status"]>;

/**
 * A refusal of the API, an answer without data or problem (`code` is then `UNREADABLE`), or a write
 * whose result could not be read (`ACCEPTED`): send it again with the same Idempotency-Key.
 */
export class BillingError extends Error {
  override readonly name = "BillingError";
  readonly status: number;
  readonly code: string;
  readonly correlationId: string | null;
  /** All members of the problem, including those that only some codes add. */
  readonly problem: Partial<Problem>;

  constructor(status: number, problem: Partial<Problem>) {
    super(problem.detail ?? `the API answered ${status}`);
    this.status = status;
    this.code = problem.code ?? "UNREADABLE";
    this.correlationId = problem.correlation_id ?? null;
    this.problem = problem;
  }
}

export interface BillingOptions {
  /** The API with or without `/api/v1`; `http://localhost:8080/api/v1` by default. */
  baseUrl?: string;
  /** A bearer token, or a function that returns one, called before each request. */
  token?: string | (() => string | Promise<string>);
  /** The account to act for, by id or external id: operators' tokens must name one. */
  account?: string;
  fetch?: ClientOptions["fetch"];
}

export interface Billing {
  /** Every route, typed: `await billing.api.GET("/api/v1/billing/plans")` has `data` or `error`. */
  api: Client<paths>;
  /** Usage of the open cycle, and what it costs beyond the plan. */
  getCurrentUsage(): Promise<Usage>;
  /** A page of invoices, newest first. */
  listInvoices(query?: {
    page?: number;
    limit?: number;
    status?: InvoiceStatus;
  }): Promise<InvoicePage>;
  /** The address of an invoice's PDF within this page; free it with `URL.revokeObjectURL`. */
  downloadInvoicePDF(id: string): Promise<string>;
  /**
   * Compare our rows with Stripe's (role `admin`), once the operator has acknowledged that. Calls
   * with the same key are one run; its `finished_at` is null while it goes on: call again.
   */
  reconcileBilling(key: string): Promise<Reconciliation>;
}

/** A reconciliation, and the differences that it found. */
export type Reconciliation = components["schemas"]["RunDetail"];

const DEFAULT_URL = "http://localhost:8080/api/v1";
const PREFIX = /\/api\/v1\/?$/;

/** A client of one service, for one caller. */
export function createBilling(options: BillingOptions = {}): Billing {
  const origin = (options.baseUrl ?? DEFAULT_URL).replace(PREFIX, "").replace(/\/$/, "");
  const api = createFetchClient<paths>({
    baseUrl: origin,
    ...(options.fetch ? { fetch: options.fetch } : {}),
  });
  api.use({
    async onRequest({ request }) {
      const token = typeof options.token === "function" ? await options.token() : options.token;
      if (token) request.headers.set("Authorization", `Bearer ${token}`);
      if (options.account) request.headers.set("X-Account-Id", options.account);
      return request;
    },
  });

  return {
    api,
    async getCurrentUsage() {
      return read(await api.GET("/api/v1/usage/current"));
    },
    async listInvoices(query = {}) {
      return read(await api.GET("/api/v1/billing/invoices", { params: { query } }));
    },
    async downloadInvoicePDF(id) {
      const path = { invoice_id: id };
      return URL.createObjectURL(
        read(
          await api.GET("/api/v1/billing/invoices/{invoice_id}/pdf", {
            params: { path },
            parseAs: "blob",
          }),
        ),
      );
    },
    async reconcileBilling(key) {
      return read(
        await api.POST("/api/v1/billing/reconcile", {
          params: { header: { "Idempotency-Key": key } },
          body: { acknowledge: true },
        }),
      );
    },
  };
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** Statuses of answers without a body: done without a word, and your copy is the current one. */
const WITHOUT_DATA = [204, 304];

/** Returns the data of an answer (`undefined` for 204 and 304); throws BillingError for anything else. */
export function read<T>({ data, error, response }: Answer<T>): Exclude<T, Accepted> {
  if (WITHOUT_DATA.includes(response.status)) return undefined as Exclude<T, Accepted>;
  if (!response.ok || data === undefined) {
    const problem = typeof error === "object" && error !== null ? error : {};
    throw new BillingError(response.status, problem as Partial<Problem>);
  }
  if (isAccepted(data)) throw new BillingError(202, { code: "ACCEPTED", detail: data.detail });
  return data as Exclude<T, Accepted>;
}

/** Whether a write is stored and its result could not be read: send it again with its key. */
export function isAccepted(data: unknown): data is Accepted {
  return (data as Partial<Accepted> | undefined)?.status === "accepted";
}

let shared: Billing | undefined;

/** Configure the functions below: base address, token, account. */
export function configureBilling(options: BillingOptions): void {
  shared = createBilling(options);
}

function billing(): Billing {
  shared ??= createBilling();
  return shared;
}

export const getCurrentUsage: Billing["getCurrentUsage"] = () => billing().getCurrentUsage();
export const listInvoices: Billing["listInvoices"] = (query) => billing().listInvoices(query);
export const downloadInvoicePDF: Billing["downloadInvoicePDF"] = (id) =>
  billing().downloadInvoicePDF(id);
export const reconcileBilling: Billing["reconcileBilling"] = (key) =>
  billing().reconcileBilling(key);
